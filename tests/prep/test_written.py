"""What was written, in columns: whatever the order in which chunks come back, it stands in the order of the records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.columns import Coded
from manifests.strings import PackedStrings
from prep import written as written_module
from prep.known import FACTS
from prep.sampleids import sample_ids
from prep.written import NO_FACTS, Collected, PartRows, Written, for_each_kind, lengths_of_moments

RECORDS = PackedStrings(f"r{number:03d}" for number in range(64))


def part_of(records: Sequence[tuple[int, int]], *, facts: bool = False) -> Written:
    """Return what one part tells of records, given as (position, samples that carry a number); each sample's digest is its own."""
    positions = np.array([position for position, _ in records], dtype=np.int64)
    numbers = np.array([number for _, number in records], dtype=np.int32)
    samples = [(position, sample) for position, number in records for sample in range(max(number, 1))]
    shapes = [f"{position % 3}x{sample}" for position, sample in samples]
    distinct = sorted(set(shapes))
    digests = np.zeros((len(samples), 32), dtype=np.uint8)
    digests[:, :2] = np.array(samples).reshape(-1, 2)
    known = np.zeros(len(records), dtype=FACTS)
    known["height"], known["there"] = positions, True
    return Written(
        positions=positions,
        numbers=numbers,
        shapes=Coded(codes=np.array([distinct.index(shape) for shape in shapes], dtype=np.uint8), distinct=PackedStrings(distinct)),
        dtypes=Coded(codes=np.zeros(len(samples), dtype=np.uint8), distinct=PackedStrings(["uint8"])),
        sha256s=digests,
        facts=known if facts else NO_FACTS,
        parts=(PartRows(digest=str(records), rows=len(samples)),),
        rows=np.arange(len(samples)),
    )


def check_written(found: Written, records: dict[int, int], parts: Sequence[Written]) -> None:
    """Hold what was put together against the records that it was made of: position -> samples that carry a number."""
    order = sorted(records)
    samples = [(position, sample) for position in order for sample in range(max(records[position], 1))]
    assert found.positions.tolist() == order
    assert found.owners().tolist() == [position for position, _ in samples]
    names = [
        name
        for position in order
        for name in (sample_ids(RECORDS[position], records[position]) if records[position] else [RECORDS[position]])
    ]
    assert list(found.ids(RECORDS)) == names
    assert found.sha256s[:, :2].tolist() == [list(sample) for sample in samples]
    assert [found.shapes.distinct[code] for code in found.shapes.codes.tolist()] == [
        f"{position % 3}x{sample}" for position, sample in samples
    ]
    assert {part.digest for part in found.parts} == {part.parts[0].digest for part in parts if len(part)}
    # A sample's row leads to the same digest in its part.
    of_all = np.concatenate([next(one for one in parts if one.parts[0] == part).sha256s for part in found.parts] or [found.sha256s])
    np.testing.assert_array_equal(of_all[found.rows], found.sha256s)


CHUNKS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 3)), unique_by=lambda record: record[0], max_size=30).flatmap(
    lambda records: st.tuples(st.just(records), st.lists(st.integers(0, 5), min_size=len(records), max_size=len(records)))
)


@given(CHUNKS, st.integers(1, 40))
def test_parts_in_any_order_are_put_together_in_that_of_the_records(chunks: tuple[list[tuple[int, int]], list[int]], block: int) -> None:
    records, of_part = chunks
    parts = [part_of(sorted(record for record, part in zip(records, of_part, strict=True) if part == number)) for number in range(6)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(written_module, "_BLOCK", block)
        collected = Collected(parts[:2])
        collected.add(parts[2:])
        assert len(collected) == len(records)
        assert set(np.flatnonzero(collected.are_here(64)).tolist()) == {position for position, _ in records}
        found = collected.joined()
    check_written(found, dict(records), parts)
    check_written(Written.joined(parts), dict(records), parts)
    assert len(collected) == len(collected.joined()) == 0


def test_a_part_of_a_part_keeps_its_place_in_it() -> None:
    part = part_of([(3, 0), (4, 2), (9, 0), (11, 3)])
    some = part.select(np.array([1, 3]))
    check_written(some, {4: 2, 11: 3}, [part])
    check_written(Written.joined([some, part_of([(0, 0), (5, 2)])]), {0: 0, 4: 2, 5: 2, 11: 3}, [part, part_of([(0, 0), (5, 2)])])
    collected = Collected([some, part_of([(0, 0), (5, 2)])])
    check_written(collected.joined(), {0: 0, 4: 2, 5: 2, 11: 3}, [part, part_of([(0, 0), (5, 2)])])


def test_facts_of_some_are_unknown_facts_of_the_others() -> None:
    for each in ([part_of([(5, 0)]), part_of([(2, 0)], facts=True)], [part_of([(2, 0)], facts=True), part_of([(5, 0)])]):
        for joined in (Written.joined(each), Collected(each).joined()):
            assert joined.facts["there"].tolist() == [True, False]
            assert joined.facts["height"].tolist() == [2, 0]
            assert len(joined.without_facts().facts) == 0
    assert len(Written.joined([part_of([(5, 0)]), part_of([(2, 0)])]).facts) == 0


def test_all_records_with_one_sample_each_have_the_ids_that_are_there_already() -> None:
    assert part_of([(number, 0) for number in range(64)]).ids(RECORDS) is RECORDS


def test_nothing_is_written_of_nothing() -> None:
    assert len(Written.joined([])) == len(Written.nothing()) == 0
    assert list(Written.nothing().ids(RECORDS)) == []


def test_lengths_are_those_of_each_samples_shape_and_dtype() -> None:
    shapes = Coded(codes=np.array([0, 1, 1, 0, 2], dtype=np.uint8), distinct=PackedStrings(["2x3", "scalar", "7x2000"]))
    dtypes = Coded(codes=np.array([0, 0, 1, 1, 0], dtype=np.uint8), distinct=PackedStrings(["uint8", "complex64"]))
    assert lengths_of_moments(shapes, dtypes).tolist() == [144, 48, 0, 0, 48]
    assert for_each_kind(shapes, dtypes, lambda shape, dtype: 10**30 if shape == "2x3" else len(dtype)).tolist() == [
        2**63 - 1,
        5,
        9,
        2**63 - 1,
        5,
    ]
