"""A table's value means the files that a look at each of them finds, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.rows import arrow
from prep.sources.file_lookup import NO_FILE, SEVERAL_FILES, find_files
from prep.sources.files import without_raw_suffix

PART = st.text("ab.é\udcff", min_size=1, max_size=2)
PATHS = st.lists(
    st.builds(lambda parts, ending: "/".join(parts) + ending, st.lists(PART, min_size=1, max_size=2), st.sampled_from([".png", ".npy"]))
)
VALUES = st.lists(
    st.builds("{}{}{}".format, st.sampled_from(["", "./", "a/", "b/"]), st.text("ab.é", max_size=2), st.sampled_from(["", ".png"]))
)


def name(path: str) -> str:
    return path.rpartition("/")[2]


WAYS: list[Callable[[str], str]] = [lambda path: path, without_raw_suffix, name, lambda path: name(without_raw_suffix(path))]


def meant(value: str, paths: list[str]) -> list[int]:
    """Return the positions of the files that a value means, by a look at each."""
    found: list[int] = []
    for way in WAYS:
        found = found or [place for place, path in enumerate(paths) if way(path) == value.removeprefix("./")]
    return found


@given(PATHS, VALUES, st.integers(1, 4))
def test_a_value_means_the_files_that_a_look_at_each_finds(paths: list[str], values: list[str], block: int) -> None:
    paths = list(dict.fromkeys(paths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "ROWS_AT_ONCE", block)
        expected = [meant(value, paths) for value in values]
        found, several = find_files(pa.chunked_array([values], type=pa.large_string()), paths)
    assert found.tolist() == [NO_FILE if not some else some[0] if len(some) == 1 else SEVERAL_FILES for some in expected]
    assert several == {
        value.removeprefix("./"): [paths[place] for place in some] for value, some in zip(values, expected, strict=True) if len(some) > 1
    }
