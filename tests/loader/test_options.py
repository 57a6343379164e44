from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loader import LoaderError, OptionError
from loader.options import FeedOptions, WorkerOptions

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
    (WorkerOptions, "workers", -1, "workers must be an integer from 0, got -1"),
    (WorkerOptions, "workers", "4", "workers must be an integer from 0, got '4'"),
    (WorkerOptions, "max_queue_size", 0, "max_queue_size must be a positive integer, got 0"),
    (WorkerOptions, "use_multiprocessing", None, "use_multiprocessing must be True or False, got None"),
]


@pytest.mark.parametrize(("options", "name", "value", "message"), BAD, ids=[f"{name}={value!r}" for _, name, value, _ in BAD])
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
    ],
    ids=str,
)
def test_good_values_are_taken(values: dict[str, Any]) -> None:
    FeedOptions(**values)
