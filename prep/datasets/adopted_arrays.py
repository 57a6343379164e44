"""Adopting further arrays: `arrays/<name>/<id>.npy` beside the arrays that are adopted are not samples of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from manifests.format.names import ARRAY_FOLDER, SHARD_FOLDER, array_folder, default_path
from manifests.format.schema import array_column, array_name_problem
from manifests.rows.table import strings
from prep.errors import SourceError
from prep.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa

Described = tuple[str, str, str]
"""Shape, dtype and SHA-256 of an array."""


def further_paths(paths: Sequence[str]) -> list[str]:
    """Return those of some arrays' paths that are of further arrays: `arrays/mask/1.npy` where there is `1.npy` or `shards/1.npy`."""
    rest = {path: parts[2] for path in paths if len(parts := path.split("/", 2)) == 3 and _is_of_array(parts)}
    main = {path for path in paths if path not in rest}
    return [path for path, own in rest.items() if own in main or f"{SHARD_FOLDER}/{own}" in main]


def _is_of_array(parts: Sequence[str]) -> bool:
    return parts[0] == ARRAY_FOLDER and array_name_problem(parts[1]) is None


def further_columns(
    ids: pa.ChunkedArray, paths: Iterable[str], describe: Callable[[str], Described | str], executor: Executor
) -> Mapping[str, Sequence[str]]:
    """Return the manifest's columns of further arrays.

    Args:
        ids: of the samples.
        paths: of the further arrays.
        describe: says of a path what its array is, or what is wrong with it.
        executor: runs that.

    Raises:
        SourceError: arrays that cannot be used, or that are no sample's; all are listed.
    """
    left = list(paths)
    outcomes = dict(zip(left, executor.map(describe, left), strict=True))
    names, found = sorted({path.split("/", 2)[1] for path in left}), dict[str, Sequence[str]]()
    id_list, of_samples = strings(ids), set[str]()
    for name in names:
        own = [default_path(id_, folder=array_folder(name)) for id_ in id_list]
        of_samples.update(own)
        found[array_column(name, "path")] = [path if path in outcomes else "" for path in own]
        for number, field in enumerate(("shape", "dtype", "sha256")):
            found[array_column(name, field)] = [outcomes[path][number] if path in outcomes else "" for path in own]
    problems = [outcome for outcome in outcomes.values() if isinstance(outcome, str)]
    problems += [
        f"{printable(path)}: is the array of no ID; call it {ARRAY_FOLDER}/<name>/<id>.npy" for path in left if path not in of_samples
    ]
    if problems:
        raise SourceError(f"{counted(len(problems), 'further array')} cannot be used:", problems)
    return found
