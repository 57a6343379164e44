"""`class_weight`: how much each sample counts in the loss, by its class."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import SupportsIndex

import numpy as np

from loader.errors import OptionError, listing
from loader.feed.index.index import Index
from loader.feed.options import check_number


def with_class_weight(index: Index, class_weight: object) -> Index:
    """Return an index whose samples count in the loss by their class.

    Args:
        index: with labels of one class a sample.
        class_weight: class, by index or name -> weight; 1 for classes that are left out.

    Raises:
        OptionError: it is no such dict, there are other weights already, or samples have no class or several.
    """
    if index.weights is not None:
        raise OptionError("class_weight and sample_weight cannot be passed at the same time")
    if index.codes is None or not index.codes.has_one_class_a_sample:
        mode = None if index.codes is None else index.codes.label_mode
        raise OptionError(f"class_weight needs one class a sample, got label_mode={mode!r}")
    if not isinstance(class_weight, Mapping):
        raise OptionError(f"class_weight must be a dict of class -> number, got {class_weight!r:.100}")
    weights = np.ones(len(index.classes), dtype=np.float32)
    places = [_place(class_, index.classes) for class_ in class_weight]
    if len(set(places)) < len(places):
        raise OptionError(f"class_weight names a class twice, by index and by name, got {class_weight!r:.100}")
    for (class_, weight), place in zip(class_weight.items(), places, strict=True):
        weights[place] = check_number(f"class_weight[{class_!r}]", weight)
        if not 0 <= weights[place] < np.inf:
            raise OptionError(f"class_weight[{class_!r}] must be a finite number from 0, got {weight!r}")
    return replace(index, weights=weights[index.codes.values])


def _place(class_: object, classes: tuple[str, ...]) -> int:
    """Return the index of a class that is given by its index or its name.

    Raises:
        OptionError: there is no such class, or the integer is also the name of another one.
    """
    place = -1
    if isinstance(class_, str):
        place = classes.index(class_) if class_ in classes else -1
    elif isinstance(class_, SupportsIndex) and not isinstance(class_, bool):
        place = operator.index(class_)
    if not 0 <= place < len(classes):
        raise OptionError(
            f"class_weight has {class_!r}, expected an index below {len(classes)} or one of {listing(list(map(repr, classes)))}"
        )
    if not isinstance(class_, str) and str(place) in classes and classes[place] != str(place):
        raise OptionError(
            f"class_weight has {class_!r}, which is the index of class {classes[place]!r} and the name of another; use names, as text"
        )
    return place
