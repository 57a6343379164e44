"""`merge`: write the union of two datasets as a third; conflicts are listed, and nothing is written unless all are resolved."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from manifests.format.metadata import Metadata, common_array
from manifests.format.names import array_folder, default_path
from manifests.format.schema import FAILURES_NAME, array_column
from manifests.manifest import Manifest
from manifests.rows.table import distinct, is_in, rows_of_frame, select
from manifests.storage.commitlog import finish_if_begun
from manifests.storage.store import load_manifest
from manifests.verification.shard_checks import check_rows
from manifests.verification.verify import check_tasks
from prep.build.commit.array_files import array_changes, array_specs
from prep.build.commit.statistics import union_statistics
from prep.build.execute.copying import CopyItem, CopyTask, copy_shards, further_items
from prep.build.execute.shards import WrittenShard
from prep.build.stage.failures_csv import read_failures
from prep.build.stage.output import entries
from prep.build.stage.stage import WorkArea, work_area
from prep.datasets.merge.conflicts import array_conflict
from prep.datasets.merge.union import MERGED, MergeOptions, Union, unite
from prep.errors import ConflictError, SourceError, UsageError
from prep.parallel.executors import Workers, default_workers
from prep.parallel.hashing import open_readers
from prep.progress.report import Reporter, StderrReporter
from prep.sources.listing import Failure
from prep.text import counted, shown

if TYPE_CHECKING:
    import pyarrow as pa

_TASK_ITEMS = 64


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a merge made: `ids = from_a + from_b`.

    Attributes:
        out: the new dataset's folder.
        ids: number of rows.
        from_a: rows with the first dataset's shard.
        from_b: rows with the second's.
        shared: IDs that both have.
        resolved: contradictions that an option resolved.
        failures: rows of failures.csv.
        rebuildable: whether `prep build-shards` can go on with the dataset.
    """

    out: str
    ids: int
    from_a: int
    from_b: int
    shared: int
    resolved: int
    failures: int
    rebuildable: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        resolved = f"; {counted(self.resolved, 'conflict')} resolved as asked" if self.resolved else ""
        shared = f"; {self.shared:,} in both" if self.shared else ""
        return f"{self.out}: {counted(self.ids, 'ID')} = {self.from_a:,} of A + {self.from_b:,} of B{shared}{resolved}"


def merge_datasets(
    a: str | Path,
    b: str | Path,
    out: str | Path,
    options: MergeOptions | None = None,
    *,
    workers: int | None = None,
    report: Reporter | None = None,
) -> MergeSummary:
    """Write the union of two datasets as a new one; neither of them is changed.

    Shards are copied and hashed on the way, so the new rows say shape, dtype and SHA-256 of what lies there, and a shard
    that is not what its old row says ends the merge. Any error leaves nothing of the new dataset behind.

    Args:
        a: a dataset's folder, or its manifest.
        b: likewise.
        out: the new dataset's folder; new or empty.
        options: how to resolve conflicts.
        workers: files copied at the same time; by default one per processor.
        report: where notes and progress go; stderr by default.

    Raises:
        ConflictError: the two contradict each other in what no option resolves; each contradiction is listed.
        UsageError: `out` is not ours to write, or options that cannot work.
        SourceError: shards that are missing, damaged or changed; each is listed.
        OutputError: the folder cannot be written.
        ManifestError: there is no sound manifest.
    """
    out, options, report = Path(out), options or MergeOptions(), report or StderrReporter()
    datasets = [load_manifest(a), load_manifest(b)]
    _check_out(datasets, out)
    union = unite(datasets[0], datasets[1], options)
    _refuse(union, union.conflicts)
    failures = _failures(union, options)
    _tell(union, report)
    with work_area(out, keeps_parts=False) as area, open_readers(workers or default_workers(), len(union.frame)) as readers:
        written = _copy_all(union, area, readers, report)
        frame = _complete(union, written)
        rows = rows_of_frame(frame)
        if not options.mixed:
            _refuse(union, _array_conflicts(union, rows))
        array = common_array(distinct(rows["shape"]), distinct(rows["dtype"])) if len(rows) else None
        metadata = Metadata(array=array, arrays=array_specs(rows), labels=union.labels, recipe=union.recipe, splits=union.splits)
        statistics = union_statistics(rows, metadata, [side.metadata.statistics for side in (union.a, union.b)])
        if statistics and "channels" not in statistics:
            report.note("statistics: only class counts, as the training data is not that of either dataset")
        metadata = replace(metadata, statistics=statistics)
        area.commit(frame, metadata, failures, list(frame["id"]), [], arrays=array_changes(None, rows, rows["id"]))
    return MergeSummary(
        out=os.fspath(out),
        ids=len(frame),
        from_a=len(frame) - len(union.from_b),
        from_b=len(union.from_b),
        shared=len(union.shared),
        resolved=len(union.resolved),
        failures=len(failures),
        rebuildable=union.recipe != MERGED,
    )


def _check_out(datasets: Sequence[Manifest], out: Path) -> None:
    real = Path(os.path.realpath(out))
    for root in (manifest.root for manifest in datasets):
        real_root = Path(os.path.realpath(root))
        if real == real_root or real in real_root.parents or real_root in real.parents:
            raise UsageError(f"{out}: is the dataset {root}, inside it or a parent of it; choose a separate folder for the union")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; expected a folder")
    finish_if_begun(out)
    found = entries(out)
    if found:
        raise UsageError(f"{out}: already contains files ({shown(found, 3)}); merge writes a new dataset: choose an empty or new folder")


def _refuse(union: Union, conflicts: Sequence[object]) -> None:
    """Refuse conflicts.

    Raises:
        ConflictError: there are any.
    """
    if not conflicts:
        return
    kinds = Counter(getattr(conflict, "kind", "") for conflict in conflicts)
    hints = {
        "--prefer a or --prefer b takes one side's rows and class order": {"content", "value", "split", "group", "classes"},
        "--prefix-a and --prefix-b keep both under new IDs": {"content", "value", "split", "group", "name"},
        "--mixed allows arrays of different shapes, dtypes or recipes": {"array", "recipe"},
        "correct the groups' splits in A or B": {"group in two splits"},
    }
    told = "; ".join(hint for hint, resolves in hints.items() if resolves & set(kinds))
    raise ConflictError(
        f"A ({union.a.root}) and B ({union.b.root}) contradict each other in {counted(len(conflicts), 'point')} "
        f"({', '.join(f'{kind} {count:,}' for kind, count in kinds.items())}); nothing was written; {told}:",
        conflicts,
    )


def _tell(union: Union, report: Reporter) -> None:
    if union.resolved:
        kinds = Counter(conflict.kind for conflict in union.resolved)
        report.note(f"resolved as asked: {', '.join(f'{kind} {count:,}' for kind, count in kinds.items())}")
    if union.recipe == MERGED:
        report.note("recipe: the dataset is not from a single build, so build-shards cannot update it; rebuild A or B and merge again")
    if "split" in union.frame.columns and (union.frame["split"] == "").any():
        report.note(f"splits: {counted(int((union.frame['split'] == '').sum()), 'ID has', 'IDs have')} none")


def _copy_all(union: Union, area: WorkArea, workers: Workers, report: Reporter) -> dict[str, WrittenShard]:
    """Copy every shard below the stage.

    Raises:
        SourceError: shards that are not what their rows say.
    """
    written: dict[str, WrittenShard] = {}
    problems = list(_damaged_packs(union))
    tasks = [] if problems else [task for name in ("A", "B") for task in _copy_tasks(union, area, name)]
    with report.progress(len(union.frame), "merge") as advance:

        def take(done: list[tuple[str, WrittenShard | str]]) -> None:
            for id_, outcome in done:
                if isinstance(outcome, str):
                    problems.append(f"ID {id_!r} of {'B' if id_ in union.from_b else 'A'}: {outcome}")
                else:
                    written[id_] = outcome
            advance(len(done))

        workers.run(copy_shards, tasks, take)
    if problems:
        found = counted(len(problems), "shard does not match its row", "shards do not match their rows")
        raise SourceError(f"{found}; nothing was written; see prep verify:", sorted(problems))
    return written


def _copy_tasks(union: Union, area: WorkArea, name: str) -> Iterator[CopyTask]:
    manifest = union.b if name == "B" else union.a
    columns = [_column(manifest, column) for column in ("id", "path", "row", "shape", "dtype", "sha256")]
    further: dict[int, list[CopyItem]] = defaultdict(list)
    for array in manifest.arrays:
        for position, item in further_items(manifest.table, array):
            further[position].append(item)
    samples = [
        [CopyItem(id=id_, path=path, row=row, shape=shape, dtype=dtype, sha256=sha256), *further[position]]
        for position, (id_, path, row, shape, dtype, sha256) in enumerate(zip(*columns, strict=True))
        if (id_ in union.from_b) == (name == "B")
    ]
    for start in range(0, len(samples), _TASK_ITEMS):
        items = list(chain.from_iterable(samples[start : start + _TASK_ITEMS]))
        yield CopyTask(root=manifest.root, target=area.folder, items=items)


def _damaged_packs(union: Union) -> Iterator[str]:
    """Yield what is wrong with packs: their digest is that of many rows, so it cannot be compared row by row."""
    for name, manifest in (("A", union.a), ("B", union.b)):
        columns = [_column(manifest, name) for name in ("row", *(array_column(array, "row") for array in manifest.arrays))]
        is_packed = [any(rows) for rows in zip(*columns, strict=True)]
        if any(is_packed):
            packed = Manifest(manifest.frame[is_packed], manifest.root, manifest.metadata)
            for task in check_tasks(packed, deep=True):
                yield from (f"{name}: {finding}" for _, finding in check_rows(task).findings)


def _complete(union: Union, written: dict[str, WrittenShard]) -> pd.DataFrame:
    """Return the rows with what is known of their shards."""
    frame = union.frame.copy()
    ids = list(frame["id"])
    frame["path"] = [default_path(id_) for id_ in ids]
    for name in ("shape", "dtype", "sha256"):
        frame[name] = [getattr(written[id_], name) for id_ in ids]
    for array in sorted({array for shard in written.values() for array in shard.arrays}):
        found = [written[id_].arrays.get(array) for id_ in ids]
        paths = [default_path(id_, folder=array_folder(array)) if shard else "" for id_, shard in zip(ids, found, strict=True)]
        frame[array_column(array, "path")] = paths
        for name in ("shape", "dtype", "sha256"):
            frame[array_column(array, name)] = [getattr(shard, name) if shard else "" for shard in found]
    for name in ("source", "member", "fingerprint"):
        if name in union.a.frame.columns or name in union.b.frame.columns:
            a, b = (dict(zip(manifest.frame["id"], _column(manifest, name), strict=True)) for manifest in (union.a, union.b))
            frame[name] = [b[id_] if id_ in union.from_b else a[id_] for id_ in ids]
    return frame


def _array_conflicts(union: Union, rows: pa.Table) -> list[object]:
    """Return the conflicts of arrays whose shape or dtype no manifest said."""
    is_from_b = is_in(rows["id"], union.from_b)
    parts = [select(rows, is_from_b == is_b) for is_b in (False, True)]
    specs = [{"": common_array(distinct(part["shape"]), distinct(part["dtype"])), **array_specs(part)} for part in parts]
    found = [array_conflict(specs[0].get(name), specs[1].get(name), name) for name in specs[0]]
    return [conflict for conflict in found if conflict is not None]


def _failures(union: Union, options: MergeOptions) -> list[Failure]:
    """Return the union of both failures.csv; an item whose ID has a row now is no failure of the union."""
    ids = set(union.frame["id"])
    found = {
        replace(failure, id=prefix + failure.id) if failure.id else failure
        for manifest, prefix in ((union.a, options.prefix_a), (union.b, options.prefix_b))
        for failure in read_failures(manifest.root / FAILURES_NAME)
    }
    return sorted((failure for failure in found if failure.id not in ids), key=lambda failure: tuple(vars(failure).values()))


def _column(manifest: Manifest, name: str) -> list[str]:
    return list(manifest.frame[name]) if name in manifest.frame.columns else [""] * len(manifest)
