"""Records of a folder of raw files: the ID is the path without its ending, the class is the parent folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from manifests.classes import classes_of
from manifests.names import name_problem
from manifests.schema import LABEL_SEPARATOR
from prep.errors import SourceError
from prep.records import NO_LABELS, Failure, Listing, Record, SourceFormat
from prep.sources.files import without_raw_suffix
from prep.sources.identity import check_distinct
from prep.text import counted, printable, shown


def list_folder(root: Path, paths: list[str], format_: SourceFormat, *, allow_empty_labels: bool) -> Listing:
    """Make a record of each file.

    Args:
        root: the source's folder.
        paths: of the raw files, relative to it.
        format_: what the raw files are.
        allow_empty_labels: take files that lie in no class folder although others do.

    Raises:
        SourceError: two files of one ID, files without a class beside files with one, or a class name that cannot be.
    """
    records: list[Record] = []
    failures: list[Failure] = []
    for path in paths:
        id_ = without_raw_suffix(path)
        problem = name_problem(id_)
        if problem:
            failures.append(Failure(id="", source=printable(path), stage="find", error=f"ID {printable(id_)!r} {problem}"))
        else:
            records.append(Record(id=id_, source=path, label=PurePosixPath(path).parent.name))
    check_distinct(records)
    labelled = any(record.label for record in records)
    _check_labels(records, labelled=labelled, allow_empty_labels=allow_empty_labels)
    if labelled:
        classes = classes_of(record.label for record in records)
        note = f"labels: name of the parent folder, {counted(len(classes), 'class', 'classes')}: {shown(list(classes), 10)}"
    else:
        note = "labels: none, as no file lies in a class folder"
    return Listing(
        format=format_,
        root=root,
        records=sorted(records, key=lambda record: record.id),
        label_columns=("label",) if labelled else (),
        label_origin="folder names" if labelled else NO_LABELS,
        failures=failures,
        notes=[note],
    )


def _check_labels(records: list[Record], *, labelled: bool, allow_empty_labels: bool) -> None:
    several = sorted({record.label for record in records if LABEL_SEPARATOR in record.label})
    if several:
        raise SourceError(f"class folders must not have {LABEL_SEPARATOR!r} in their name, as it stands between classes: {shown(several)}")
    empty = [record.source for record in records if not record.label]
    if labelled and empty and not allow_empty_labels:
        raise SourceError(
            f"{counted(len(empty), 'file')} without a label, as they lie in no class folder while others do; "
            "move them into one, or pass --allow-empty-labels to keep them without a label",
            empty,
        )
