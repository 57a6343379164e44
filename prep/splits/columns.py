"""The columns `group`, `split` and `fold` of a dataset's rows, and what `dataset.json` remembers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manifests.describe.counts import split_order
from manifests.manifest import Manifest
from manifests.rows import arrow
from manifests.rows.buffers import mask, mask_array, number_array, positions_of, text
from manifests.rows.table import blank, distinct, equal_at, is_in, mapped, rows_of, select, strings, taken, with_column, with_rows
from prep.progress.report import Reporter
from prep.sources.listing import Failure
from prep.sources.numbered_samples import record_id_of, record_ids_of
from prep.splits.assignment import assign_splits, check_enough_for_folds, check_groups_whole
from prep.splits.source_splits import file_groups, groups_of, says_splits, splits_given
from prep.splits.spec import SplitSpec, check_held_out, spec_differences
from prep.text import counted, is_text, shown

if TYPE_CHECKING:
    import pyarrow as pa

_KEYS = {"split": "absent", "fold": "absent_folds", "group": "absent_groups"}

_SHOWN = 3

ABSENT_KEYS = tuple(_KEYS.values())
"""Keys under `splits` in dataset.json: IDs without a row, as their raw item fails, and the split, fold and group they keep."""


def check_given(items: pa.Table, spec: SplitSpec | None) -> None:
    """Find out what of the source contradicts the spec, before anything is built.

    Raises:
        UsageError: a column that is not there.
        SourceError: items that have no group or split although each must have one.
    """
    if spec is None:
        return
    groups_of(items, spec)
    if spec.column or spec.folders:
        splits = splits_given(items, spec)
        if spec.folds is not None:
            check_held_out(sorted(distinct(splits)))


def assign_split_columns(  # noqa: PLR0917  # as many things as it takes, of as many types
    rows: pa.Table,
    spec: SplitSpec,
    old: Manifest | None,
    report: Reporter,
    items: pa.Table,
    owners: npt.NDArray[np.int64],
    *,
    stratify: bool,
) -> pa.Table:
    """Return the rows with `group`, `split` and `fold` filled; they keep what they had unless shares, seed or folds are others now.

    Args:
        rows: the manifest's.
        spec: what is asked for.
        old: the dataset that is there, or None.
        report: is told where splits change.
        items: the source's, those included that have no row.
        owners: which item each row is of: int64, shape (len(rows),); -1 for none.
        stratify: whether each split has its share of each label: not where labels are numbers.

    Raises:
        UsageError: a column that is not there.
        SourceError: a group that would be in two splits or folds, or fewer groups than folds.
    """
    columns = _columns_that_stay(old, spec)
    _tell_changes(old, spec, columns, report)
    before = _before(old, columns)
    at = positions_of(rows["id"], before["id"]) if columns else np.zeros(0, dtype=np.int64)
    had = {column: taken(before[column], at) for column in columns}
    groups = _groups(rows, spec, had, report, items=items, owners=owners)
    if any(distinct(groups)) or spec.group_by or spec.group_regex:
        rows = with_column(rows, "group", groups)
    strata = rows["label"] if stratify and "label" in rows.column_names else blank(len(rows))
    if spec.fractions:
        kept_groups = _kept_groups(before, "split", rows)
        splits = assign_splits(rows["id"], strata, spec, had.get("split", ()), groups=groups, kept_groups=kept_groups)
        rows = with_column(rows, "split", splits)
    elif spec.assigns:
        rows = with_column(rows, "split", _splits_of_source(rows, spec, old, items, owners))
        check_groups_whole(groups, rows["split"], "The splits are those of the source: mend them there, or leave the groups out")
    if spec.folds is not None:
        kept_groups = _kept_groups(before, "fold", rows)
        rows = with_column(rows, "fold", _folds(rows, strata, groups, spec, kept=had.get("fold"), kept_groups=kept_groups))
    return rows


def remembered(
    spec: SplitSpec, rows: pa.Table, old: Manifest | None, failures: Sequence[Failure], items: pa.Table | None = None
) -> dict[str, Any]:
    """Return what `dataset.json` says of splits; failed items that had a split before are remembered with it.

    Args:
        spec: what is asked for.
        rows: the manifest's.
        old: the dataset that is there, or None.
        failures: raw items without a row.
        items: the source's; an item that failed and is gone since is remembered like a row of which it is gone. None forgets it.
    """
    raw = spec.as_dict()
    if spec.assigns and not spec.fractions:
        raw = {"names": list(split_order(distinct(rows["split"]), spec.folders)), **raw}
    gone = [] if items is None else _gone_absent(old, items)
    if not failures and not gone:
        return raw
    before = _before(old, _columns_that_stay(old, spec))
    stay = select(before, is_in(before["id"], gone) | _have_failed(before, failures, old))
    stay = select(stay, positions_of(stay["id"], rows["id"]) < 0)
    for column, key in _KEYS.items():
        pairs = zip(strings(stay["id"]), strings(stay[column]), strict=True) if column in stay.column_names else ()
        absent = {id_: value for id_, value in pairs if value}
        raw |= {key: dict(sorted(absent.items()))} if absent else {}
    return raw


def _columns_that_stay(old: Manifest | None, spec: SplitSpec) -> list[str]:
    """Return which columns of the rows that were there are to stay."""
    if old is None:
        return []
    stored = SplitSpec.from_dict(old.metadata.splits)
    stays = {"split": spec.draws_as(stored), "fold": spec.folds_as(stored), "group": True}
    return [column for column in stays if stays[column] and column in old.columns]


def _before(old: Manifest | None, columns: Sequence[str]) -> pa.Table:
    """Return what IDs had before: the old rows, and behind them those remembered without a row.

    Args:
        old: the dataset that is there, or None.
        columns: which, beside `id`.
    """
    if old is None:
        return rows_of({"id": []})
    rows = old.table.select(["id", *columns])
    absent = {column: _absent(old, _KEYS[column]) for column in columns}
    known = {id_ for values in absent.values() for id_ in values}
    ids = sorted(known.difference(strings(select(rows, is_in(rows["id"], known))["id"]))) if known else []
    return with_rows(rows, {"id": ids, **{column: [values.get(id_, "") for id_ in ids] for column, values in absent.items()}})


def _absent(old: Manifest, key: str) -> dict[str, str]:
    """Return what `dataset.json` remembers under a key, as far as it is text."""
    values = old.metadata.splits.get(key)
    pairs = values.items() if isinstance(values, dict) else ()
    return {id_: value for id_, value in pairs if isinstance(value, str) and is_text(id_) and is_text(value)}


def _gone_absent(old: Manifest | None, items: pa.Table) -> list[str]:
    """Return the IDs that were remembered without a row and whose raw item the source does not have."""
    known = [] if old is None else sorted({id_ for key in ABSENT_KEYS for id_ in _absent(old, key)})
    names = {*known, *map(record_id_of, known)}
    there = set(strings(select(items, is_in(items["id"], names))["id"])) if known else set()
    return [id_ for id_ in known if there.isdisjoint({id_, record_id_of(id_)})]


def _have_failed(before: pa.Table, failures: Sequence[Failure], old: Manifest | None) -> npt.NDArray[np.bool_]:
    """Return whether the raw item of each row of `_before` fails: of one that was there, or of one that had failed before."""
    failed = {failure.id: failure.source for failure in failures if failure.id}
    have_failed = is_in(before["id"], failed) | _of_failed_files(len(before), failures, old)
    numbered = np.flatnonzero(mask(arrow.pc.match_substring_regex(before["id"], "-[0-9]{4,}$")) & ~have_failed)
    stems = record_ids_of(before["id"].take(number_array(numbered)))
    is_sample = is_in(stems, failed)
    samples, wanted = numbered[is_sample], [failed[stem] for stem in strings(stems.filter(mask_array(is_sample)))]
    if old is None or "source" not in old.columns:
        have_failed[samples] = True
        return have_failed
    has_row = samples < len(old)
    sources = strings(taken(old.table["source"], np.where(has_row, samples, -1)))
    same = [source == its_source for source, its_source in zip(sources, wanted, strict=True)]
    have_failed[samples[np.array(same, dtype=np.bool_) | ~has_row]] = True
    return have_failed


def _of_failed_files(count: int, failures: Sequence[Failure], old: Manifest | None) -> npt.NDArray[np.bool_]:
    """Return which rows of `_before`, so many, are or may be of a container file whose items cannot be listed: bool, shape (count,).

    Of an ID that had no row before, nobody knows the file.
    """
    whole = {failure.source for failure in failures if not failure.id and failure.stage != "find"}
    found = np.full(count, bool(whole))
    if old is not None and whole:
        found[: len(old)] = is_in(old.table["source"], whole) if "source" in old.columns else False
    return found


def _tell_changes(old: Manifest | None, spec: SplitSpec, columns: Sequence[str], report: Reporter) -> None:
    """Say where splits or folds are others than before.

    Args:
        old: the dataset that is there, or None.
        spec: what is asked for.
        columns: that stay.
        report: is told.
    """
    if old is None:
        return
    stored = SplitSpec.from_dict(old.metadata.splits)
    changes = "; ".join(spec_differences(stored, spec))
    if spec.fractions and "split" in old.columns and "split" not in columns:
        report.note(f"splits: other shares or seed than before, so every ID is assigned anew ({changes})")
    elif changes and stored is not None:
        report.note(f"splits: changed since the last build: {changes}")
    if spec.folds is not None and "fold" in old.columns and "fold" not in columns:
        report.note("folds: other than before, or of other splits, so every ID's fold is drawn anew")


def _groups(
    rows: pa.Table,
    spec: SplitSpec,
    had: Mapping[str, pa.ChunkedArray],
    report: Reporter,
    *,
    items: pa.Table,
    owners: npt.NDArray[np.int64],
) -> pa.ChunkedArray:
    """Return each row's group: what is given, else the container file or the item that it is one of several of.

    A row whose raw item is gone has the one that it had.
    """
    given = groups_of(items, spec)
    is_gone, is_sample = owners < 0, (owners >= 0) & ~equal_at(rows["id"], items["id"], owners)
    own = [mapped(rows[spec.group_by], str.strip)] if spec.group_by and spec.group_by in rows.column_names else []
    own += [had["group"]] if "group" in had else []
    groups = blank(len(rows)) if given is None else taken(given, owners)
    if "member" in items.column_names and not says_splits(items, spec):
        groups = first_filled([groups, taken(file_groups(items["source"], items["member"]), owners)])
    if is_sample.any():
        groups = first_filled([groups, taken(items["id"], np.where(is_sample, owners, -1))])
    if is_gone.any() and own:
        groups = arrow.pc.if_else(mask_array(is_gone), first_filled(own), groups.cast(arrow.pa.large_string()))
    if spec.group_by or spec.group_regex:
        alone = rows["id"].filter(mask_array(is_in(groups, [""])))
        if len(alone):
            names = shown(strings(alone.slice(0, _SHOWN)), _SHOWN, len(alone))
            report.note(f"groups: {counted(len(alone), 'ID')} without one, each of which stands alone: {names}")
    return groups


def first_filled(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return each row's value of the first column, or where that is empty of the next."""
    found, *others = (column.cast(arrow.pa.large_string()) for column in columns)
    for other in others:
        found = arrow.pc.if_else(arrow.pc.not_equal(found, text("")), found, other)
    return found


def _kept_groups(before: pa.Table, column: str, rows: pa.Table) -> dict[str, str]:
    """Return group -> what its members had in a column, of members that have no row now."""
    if not {column, "group"}.issubset(before.column_names) or not any(distinct(before["group"])):
        return {}
    has_both = ~is_in(before["group"], [""]) & ~is_in(before[column], [""])
    others = select(before, has_both & (positions_of(before["id"], rows["id"]) < 0))
    return dict(zip(strings(others["group"]), strings(others[column]), strict=True))


def _splits_of_source(
    rows: pa.Table, spec: SplitSpec, old: Manifest | None, items: pa.Table, owners: npt.NDArray[np.int64]
) -> pa.ChunkedArray:
    """Return each row's split as the source says it; a row whose raw item is gone has the one that it had."""
    splits, is_gone = taken(splits_given(items, spec), owners), owners < 0
    if old is None or "split" not in old.columns or not is_gone.any():
        return splits
    at = positions_of(select(rows, is_gone)["id"], old.table["id"])
    where = np.full(len(rows), -1, dtype=np.int64)
    where[is_gone] = at
    return first_filled([splits, taken(old.table["split"], where)])


def _folds(
    rows: pa.Table,
    strata: pa.ChunkedArray,
    groups: pa.ChunkedArray,
    spec: SplitSpec,
    *,
    kept: pa.ChunkedArray | None,
    kept_groups: Mapping[str, str],
) -> pa.ChunkedArray:
    """Draw folds of what is not held out, as splits of equal shares; what is held out has none."""
    names = sorted(filter(None, distinct(rows["split"]))) if spec.assigns else []
    held_out = check_held_out(list(spec.fractions) or names) if spec.assigns else set()
    is_drawn = ~is_in(rows["split"], held_out) if spec.assigns else np.ones(len(rows), dtype=np.bool_)
    ids, strata, groups, *others = (
        column.filter(mask_array(is_drawn)) for column in (rows["id"], strata, groups, *([] if kept is None else [kept]))
    )
    count = int(spec.folds or 0)
    check_enough_for_folds(ids, groups, count)
    shares = SplitSpec(fractions={str(fold): Fraction(1, count) for fold in range(count)}, seed=spec.seed)
    drawn = assign_splits(ids, strata, shares, *others, groups=groups, kept_groups=kept_groups)
    where = np.full(len(rows), -1, dtype=np.int64)
    where[is_drawn] = np.arange(len(drawn))
    return taken(drawn, where)
