"""The errors: one base class, messages that say it all, and a way through a process pool."""

from __future__ import annotations

import pickle

import pytest

from manifests import errors
from manifests.errors import (
    SHOWN_PROBLEMS,
    ArrayFileError,
    InvalidManifestError,
    ManifestError,
    NoManifestError,
    Problem,
    UnfinishedCommitError,
    UnknownNameError,
)


def test_every_error_derives_from_the_base() -> None:
    found = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)}
    assert found == {ManifestError, InvalidManifestError, NoManifestError, UnknownNameError, UnfinishedCommitError, ArrayFileError}
    assert all(issubclass(item, ManifestError) for item in found)


def test_the_tree_at_the_top_of_the_file_names_every_error() -> None:
    for name in ("InvalidManifestError", "NoManifestError", "UnknownNameError", "UnfinishedCommitError", "ArrayFileError"):
        assert f"── {name} " in (errors.__doc__ or "")


def test_an_unknown_name_is_a_key_error_whose_message_is_not_a_repr() -> None:
    error = UnknownNameError("no split 'tain'")
    assert isinstance(error, KeyError)
    assert str(error) == "no split 'tain'"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(kind="k", message="is wrong"), "is wrong"),
        (Problem(kind="k", message="is wrong", row=3), "row 3: is wrong"),
        (Problem(kind="k", message="is wrong", column="id"), "column 'id': is wrong"),
        (Problem(kind="k", message="is wrong", row=3, column="id"), "row 3, column 'id': is wrong"),
    ],
)
def test_a_problem_says_where_it_is(problem: Problem, text: str) -> None:
    assert str(problem) == text


def problems(count: int) -> list[Problem]:
    return [Problem(kind="k", message="is wrong", row=row) for row in range(2, count + 2)]


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        (1, "m.csv: 1 problem", "  row 2: is wrong"),
        (2, "m.csv: 2 problems", "  row 3: is wrong"),
        (SHOWN_PROBLEMS, f"m.csv: {SHOWN_PROBLEMS} problems", f"  row {SHOWN_PROBLEMS + 1}: is wrong"),
        (SHOWN_PROBLEMS + 1, f"m.csv: {SHOWN_PROBLEMS + 1} problems", "  ... and 1 more (error.problems has all of them)"),
    ],
)
def test_a_message_lists_the_problems_up_to_a_limit_and_the_error_all(count: int, first: str, last: str) -> None:
    error = InvalidManifestError("m.csv", problems(count))
    lines = str(error).splitlines()
    assert (lines[0], lines[-1]) == (first, last)
    assert len(lines) == min(count, SHOWN_PROBLEMS) + 1 + (count > SHOWN_PROBLEMS)
    assert error.problems == tuple(problems(count))


@pytest.mark.parametrize(
    "error",
    [
        ManifestError("text"),
        InvalidManifestError("m.csv", problems(3)),
        NoManifestError("text"),
        UnknownNameError("text"),
        ArrayFileError("text"),
    ],
)
def test_an_error_comes_out_of_a_worker_process_as_it_was(error: ManifestError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert getattr(copy, "problems", None) == getattr(error, "problems", None)
