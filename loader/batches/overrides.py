"""What a subclass overrides: whole batches by `__getitem__`, or `transform` and `batch_transform`, which also run in the workers."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loader.errors import OptionError, TransformError
from loader.feed.feed import Batch
from loader.feed.transforms import Transform
from loader.workers.pickling import Hook

if TYPE_CHECKING:
    from loader.batches.manifest_batches import ManifestBatches


def shell_of(class_: type[Any]) -> type[Any]:
    """Return the class that has Keras' base; those below it are the user's."""
    return next(base for base in class_.__mro__ if "is_shell" in vars(base))


def makes_batches(class_: type[Any]) -> bool:
    """Return whether a subclass makes the batches itself."""
    is_own: bool = class_.__getitem__ is not shell_of(class_).__getitem__
    return is_own


def standard(batch: Any, name: str) -> Batch:
    """Return what an override returned as a tuple without parts that are None, which Keras takes for the end of the batch.

    Raises:
        TransformError: a part in the middle is None.
    """
    if not isinstance(batch, list | tuple):
        return batch
    parts = list(batch)
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    if any(part is None for part in parts):
        raise TransformError(f"{name}.__getitem__ returned None for one of {len(batch)} parts, expected (X,), (X, y) or (X, y, weights)")
    return tuple(parts)


def transform_of(
    sequence: ManifestBatches,
    given: Transform | None,
    name: str,
    base: type[ManifestBatches],
    attributes: Callable[[Any], Mapping[str, Any]],
) -> Transform | None:
    """Return a transform that was given as an argument or by overriding a method; None if neither was.

    Args:
        sequence: whose.
        given: the argument.
        name: of the method, and of the argument.
        base: the class whose methods of these names do nothing.
        attributes: returns what a subclass put on the sequence, given it.

    Raises:
        OptionError: it was given both ways, or is no function.
    """
    is_own = inspect.ismethod(given) and given.__self__ is sequence
    is_overridden = getattr(type(sequence), name) is not getattr(base, name)
    if name in vars(sequence) or (given is not None and is_overridden and not is_own):
        raise OptionError(f"{name} is given twice: pass it as an argument, or override the method in a subclass")
    if given is not None and not is_own:
        if not callable(given):
            raise OptionError(f"{name} must be a function of (x, y, rng), got {given!r}")
        return given
    name = given.__name__ if is_own and given is not None else name
    if given is None and getattr(type(sequence), name) is getattr(base, name):
        return None
    return Hook(owner=weakref.ref(sequence), name=name, base=shell_of(type(sequence)), attributes=attributes)
