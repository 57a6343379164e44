"""What the last build was given, kept below `.prep/` for `prep retry`: beside the dataset, whose bytes do not depend on it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifests.schema import STATE_FOLDER
from prep.errors import UsageError
from prep.options import BuildOptions
from prep.sources.detect import SourceOptions
from prep.sources.table import TableOptions

LAST_BUILD = "last-build.json"


@dataclass(frozen=True, kw_only=True)
class LastBuild:
    """What the last build was given, but for what `dataset.json` says already.

    Attributes:
        source: absolute.
        options: of the source, and whether files are told by content.
    """

    source: Path
    options: BuildOptions


def remember(source: Path, out: Path, options: BuildOptions) -> None:
    """Note what a build was given; a folder that cannot be written costs the note, not the build."""
    given = asdict(options.source)
    if options.source.labels is not None:
        given["labels"] = os.path.abspath(options.source.labels)
    stored = {"source": os.path.abspath(source), "source_options": given, "checksum": options.checksum}
    content = json.dumps(stored, indent=2, default=os.fspath).encode() + b"\n"
    path = out / STATE_FOLDER / LAST_BUILD
    with contextlib.suppress(OSError):
        if not path.is_file() or path.read_bytes() != content:
            # One name for what is unfinished: whatever a killed build leaves of it, the next takes away.
            unfinished = path.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            with open(unfinished, "xb") as file:
                file.write(content)
            os.replace(unfinished, path)


def last_build(out: Path, *, source: Path | None = None) -> LastBuild:
    """Return what the last build was given.

    Args:
        out: the dataset's folder.
        source: where the source is now; that of the last build by default.

    Raises:
        UsageError: nothing is known of it, or what is there was not written by this release.
    """
    path = out / STATE_FOLDER / LAST_BUILD
    try:
        stored: Any = json.loads(path.read_bytes())
        given = _with_tuples(stored["source_options"])
        table, labels = _with_tuples(given.pop("table")), given.pop("labels")
        options = SourceOptions(**given, labels=None if labels is None else Path(labels), table=TableOptions(**table))
        return LastBuild(
            source=Path(stored["source"]) if source is None else source,
            options=BuildOptions(source=options, checksum=bool(stored["checksum"])),
        )
    except FileNotFoundError as error:
        raise UsageError(f"{path}: is not there, so it is not known what {out} was built from; run build-shards again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: cannot be understood ({error}); run build-shards again") from error


def _with_tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that were stored as JSON, which has no tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
