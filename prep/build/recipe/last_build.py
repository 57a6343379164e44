"""The options of the last build, for the next one: from `dataset.json`, and paths on this machine from the state in `.prep/`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from manifests.errors import InvalidManifestError
from manifests.format.metadata import Metadata, read_metadata
from manifests.format.names import name_problem
from manifests.format.schema import METADATA_NAME, STATE_FOLDER
from prep.build.recipe.options import BuildOptions, filled_splits, stored_names
from prep.build.state.state import STATE_NAME, last_about
from prep.errors import OutputError, UsageError
from prep.progress.report import Reporter
from prep.sources.detect import format_choices
from prep.sources.folder import LabelFrom
from prep.sources.listing import Listing
from prep.sources.table import TableOptions

_INSIDE, _OUTSIDE = "labels", "labels_outside"
"""Keys of the table of labels: its path below SOURCE; or its name, if it lies elsewhere, where only `.prep/` knows the folder."""

_TYPES = {
    "format": str,
    _INSIDE: str,
    _OUTSIDE: str,
    "id_column": str,
    "path_column": str,
    "label_columns": list,
    "label_from": str,
    "allow_empty_labels": bool,
    "checksum": bool,
}


def given_source(options: BuildOptions, source: Path, listing: Listing) -> dict[str, Any]:
    """Return what was given of the source, as `dataset.json` has it: the same wherever source, table and dataset lie.

    A format that made no difference is left out, as a recipe's file has one where flags have none.

    Args:
        options: with nothing left to be taken from the last build.
        source: where the source is.
        listing: of the source.
    """
    table, labels = options.source.table, options.source.labels
    format_ = options.source.format
    given: dict[str, Any] = {"format": format_ if listing.is_ambiguous and format_ != "auto" else None}
    if labels is not None:
        path, root = Path(os.path.abspath(labels)), Path(os.path.abspath(source))
        given |= {_INSIDE: path.relative_to(root).as_posix()} if path.is_relative_to(root) else {_OUTSIDE: path.name}
    given |= {name: getattr(table, name) for name in ("id_column", "path_column", "label_columns", "allow_empty_labels")}
    given |= {"label_from": options.source.label_from, "checksum": options.checksum}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}


def with_remembered(options: BuildOptions, source: Path, out: Path, report: Reporter) -> BuildOptions:
    """Return the options with what they leave out of the source taken from the last build, and what the splits ask of the source.

    Args:
        options: of a build; a whole recipe leaves nothing out but whether files are told by content.
        source: where the source is now.
        out: the dataset's folder.
        report: is told what is taken from the last build.

    Raises:
        UsageError: the table of labels of the last build is gone, or does not go with the source.
        OutputError: what is remembered cannot be read.
    """
    before = _metadata(out)
    forgotten = stored_names(options.forget)
    if "labels" in forgotten and source.is_dir():  # the names of its columns go with the table
        forgotten |= {f.name for f in fields(TableOptions)}
    stored = _stored(before, out)
    kept = {name: value for name, value in stored.items() if name not in forgotten and not (options.whole and name != "checksum")}
    given, table = options.source, options.source.table
    labels = given.labels
    if labels is None and "labels" not in forgotten and {_INSIDE, _OUTSIDE} & kept.keys():
        labels = _labels(kept, source, out)
    table = replace(
        table,
        id_column=table.id_column or kept.get("id_column"),
        path_column=table.path_column or kept.get("path_column"),
        label_columns=table.label_columns or tuple(kept.get("label_columns", ())),
        allow_empty_labels=kept.get("allow_empty_labels") if table.allow_empty_labels is None else table.allow_empty_labels,
    )
    format_ = given.format
    if format_ is None and not options.whole and "format" not in forgotten:
        format_ = kept.get("format") or _last_format(out)
        if (format_ == "table") == source.is_dir():  # of a source of another kind
            format_ = None
    checksum = kept.get("checksum") if options.checksum is None else options.checksum
    label_from = given.label_from or (kept.get("label_from") if labels is None and source.is_dir() else None)
    of_source = replace(given, format=format_, labels=labels, table=table, label_from=label_from)
    filled = replace(options, source=of_source, checksum=checksum)
    told = _told(filled, options)
    if told:
        report.note(f"options of the source left out are those of {out}: {told} (--forget drops one)")
    splits = filled_splits(options.splits, before.splits, options.forget)
    if splits is None:
        return filled
    table = replace(table, other_columns=splits.columns)
    return replace(filled, source=replace(filled.source, table=table, split_folders=splits.folders))


def about_build(source: Path, options: BuildOptions) -> dict[str, Any]:
    """Return what the state says of a build: the paths that it was given, which hold on this machine alone."""
    labels = options.source.labels
    return {
        "source": os.path.abspath(source),
        "labels": None if labels is None else os.path.abspath(labels),
        "format": options.source.format,
    }


def last_source(out: Path) -> Path:
    """Return where the source of the last build was.

    Raises:
        UsageError: nothing is known of it, or what is there was not written by this release.
    """
    source = last_about(out).get("source")
    if not isinstance(source, str):
        path = out / STATE_FOLDER / STATE_NAME
        raise UsageError(
            f"{path}: does not say what {out} was built from: it was removed or damaged; run build-shards again, or pass --source"
        )
    return Path(source)


def _last_format(out: Path) -> str | None:
    """Return the format that the last build was given although it made no difference then; None if nothing is known of it."""
    found = last_about(out).get("format")
    return found if found in format_choices() else None


def _metadata(out: Path) -> Metadata:
    try:
        return read_metadata(out / METADATA_NAME)
    except (FileNotFoundError, NotADirectoryError, InvalidManifestError):
        return Metadata()  # none there; or `prepare` says what is wrong with it
    except OSError as error:
        raise OutputError(f"{out / METADATA_NAME}: cannot be read: {error.strerror or error}") from error


def _stored(before: Metadata, out: Path) -> dict[str, Any]:
    """Return what `dataset.json` says of what was given of the source, checked."""
    stored = before.recipe.get("source", {})
    is_sound = isinstance(stored, dict) and stored.get("label_from", "top") in get_args(LabelFrom)
    is_sound = is_sound and all(isinstance(value, _TYPES.get(name, ())) for name, value in stored.items())
    if not is_sound or not all(isinstance(name, str) for name in stored.get("label_columns", ())) or name_problem(stored.get(_INSIDE, "x")):
        raise OutputError(f"{out / METADATA_NAME}: recipe.source cannot be understood; mend it or choose another folder")
    return dict(stored)


def _labels(stored: Mapping[str, Any], source: Path, out: Path) -> Path:
    """Return where the table of labels of the last build is.

    Raises:
        UsageError: that is not known, or it is not there any more, or the source is a table itself.
    """
    name = stored.get(_INSIDE) or stored[_OUTSIDE]
    last = f"the last build of {out} took labels from the table {name!r}"
    what_to_do = "pass --labels TABLE, or --forget labels to do without"
    if source.exists() and not source.is_dir():
        raise UsageError(f"{last}, which goes with a folder as SOURCE, and {source} is a file; pass that folder, or --forget labels")
    path: Path | None = source / stored[_INSIDE] if _INSIDE in stored else None
    if path is None:
        labels = last_about(out).get("labels")
        path = Path(labels) if isinstance(labels, str) else None
    if path is None:
        raise UsageError(f"{last} outside its SOURCE, and {out / STATE_FOLDER / STATE_NAME}, which says where, is gone; {what_to_do}")
    if source.exists() and not path.is_file():
        raise UsageError(f"{last}, and {path} is not there any more; {what_to_do}")
    return path


def _told(filled: BuildOptions, given: BuildOptions) -> str:
    """Write what was taken from the last build as the user would give it."""

    def values(options: BuildOptions) -> dict[str, object]:
        table = options.source.table
        return {
            "--format": None if options.source.format == "auto" else options.source.format,
            "--labels": options.source.labels,
            "--id-column": table.id_column,
            "--path-column": table.path_column,
            "--label": table.label_columns,
            "--label-from": options.source.label_from,
            "--allow-empty-labels": table.allow_empty_labels or None,
            "--checksum": options.checksum or None,
        }

    before, parts = values(given), []
    for flag, value in values(filled).items():
        if value and value != before[flag]:
            parts += [f"{flag} {item}" for item in value] if isinstance(value, tuple) else [flag if value is True else f"{flag} {value}"]
    return " ".join(parts)
