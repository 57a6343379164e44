from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loader import LoaderError, OptionError
from loader.feed.options import FeedOptions, WorkerOptions

BAD = [
    (FeedOptions, "batch_size", 0, "batch_size must be a positive integer, got 0"),
    (FeedOptions, "batch_size", -3, "batch_size must be a positive integer, got -3"),
    (FeedOptions, "batch_size", 2.0, "batch_size must be a positive integer, got 2.0"),
    (FeedOptions, "batch_size", True, "batch_size must be a positive integer, got True"),
    (FeedOptions, "batch_size", None, "batch_size must be a positive integer, got None"),
    (FeedOptions, "seed", 1.5, "seed must be an integer, got 1.5"),
    (FeedOptions, "seed", None, "seed must be an integer, got None"),
    (FeedOptions, "shuffle", "yes", "shuffle must be True or False, got 'yes'"),
    (FeedOptions, "drop_remainder", 1, "drop_remainder must be True or False, got 1"),
    (FeedOptions, "dtype", "float99", "dtype must be the name of a NumPy dtype such as 'float32', got 'float99'"),
    (FeedOptions, "dtype", "U3", "dtype must be numeric, got 'U3'"),
    (FeedOptions, "dtype", object, "dtype must be numeric, got <class 'object'>"),
    (FeedOptions, "batch_size", np.array([1, 2]), "batch_size must be a positive integer, got array([1, 2])"),
    (FeedOptions, "batch_size", np.True_, "batch_size must be a positive integer, got np.True_"),
    (FeedOptions, "keep_cached", 0, "keep_cached must be True or False, got 0"),
    (FeedOptions, "process_count", 0, "process_count must be a positive integer, got 0"),
    (FeedOptions, "process_index", -1, "process_index must be an integer from 0, got -1"),
    (FeedOptions, "process_index", 1, "process_index must be below process_count, got 1 of 1"),
    (FeedOptions, "pad_to", 5, "pad_to must be positive integers such as (224, 224, 3), got 5"),
    (FeedOptions, "pad_to", "12", "pad_to must be positive integers such as (224, 224, 3), got '12'"),
    (FeedOptions, "pad_to", (), "pad_to must be positive integers such as (224, 224, 3), got ()"),
    (FeedOptions, "pad_to", (4, 0), "pad_to must be positive integers such as (224, 224, 3), got (4, 0)"),
    (FeedOptions, "pad_to", (4, None), "pad_to must be positive integers such as (224, 224, 3), got (4, None)"),
    (FeedOptions, "pad_to", (4, 2.0), "pad_to must be positive integers such as (224, 224, 3), got (4, 2.0)"),
    (FeedOptions, "pad_value", "0", "pad_value must be a number, got '0'"),
    (FeedOptions, "pad_value", None, "pad_value must be a number, got None"),
    (FeedOptions, "pad_value", True, "pad_value must be a number, got True"),
    (FeedOptions, "pad_value", 1j, "pad_value must be a number, got 1j"),
    (FeedOptions, "pad_value", np.array([1, 2]), "pad_value must be a number, got array([1, 2])"),
    (FeedOptions, "pad_value", 10**400, f"pad_value must be a number, got {10**400}"),
    (FeedOptions, "on_error", "ignore", "on_error must be one of 'raise', 'skip', got 'ignore'"),
    (FeedOptions, "on_error", None, "on_error must be one of 'raise', 'skip', got None"),
    (WorkerOptions, "timeout", 0, "timeout must be a positive number of seconds, got 0"),
    (WorkerOptions, "timeout", -1.5, "timeout must be a positive number of seconds, got -1.5"),
    (WorkerOptions, "timeout", float("inf"), "timeout must be a positive number of seconds, got inf"),
    (WorkerOptions, "timeout", float("nan"), "timeout must be a positive number of seconds, got nan"),
    (WorkerOptions, "timeout", "9", "timeout must be a number, got '9'"),
    (WorkerOptions, "workers", -1, "workers must be an integer from 0, got -1"),
    (WorkerOptions, "workers", "4", "workers must be an integer from 0, got '4'"),
    (WorkerOptions, "max_queue_size", 0, "max_queue_size must be a positive integer, got 0"),
    (WorkerOptions, "use_multiprocessing", 1, "use_multiprocessing must be True or False, got 1"),
]


@pytest.mark.parametrize(("options", "name", "value", "message"), BAD, ids=[f"{name}={value!r:.20}" for _, name, value, _ in BAD])
def test_a_bad_value_is_refused_and_shown(options: type, name: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        options(**{name: value})
    assert str(caught.value) == message
    assert isinstance(caught.value, LoaderError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": np.int64(1)},
        {"seed": -1},
        {"seed": 10**400},
        {"seed": np.uint8(3)},
        {"shuffle": np.True_},
        {"dtype": "float16"},
        {"dtype": np.float32},
        {"dtype": np.dtype("uint8")},
        {"batch_size": 4, "process_count": 4, "process_index": 3},
        {"pad_to": [3, np.int64(4)]},
        {"pad_value": float("nan")},
        {"pad_value": np.float32(-1)},
        {"on_error": "skip"},
        {"keep_cached": False},
    ],
    ids=str,
)
def test_good_values_are_taken(values: dict[str, Any]) -> None:
    FeedOptions(**values)


def test_a_batch_has_a_sample_for_each_process() -> None:
    with pytest.raises(OptionError, match="batch_size is that of all processes together and must be at least process_count=4, got 3"):
        FeedOptions(batch_size=3, process_count=4)


def test_options_are_set_once_and_by_name() -> None:
    with pytest.raises(AttributeError):
        FeedOptions().seed = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        FeedOptions(32)  # type: ignore[misc]
