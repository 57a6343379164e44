"""Pickling the user's functions for a worker, by value: it knows neither the script they are defined in nor Keras."""

from __future__ import annotations

import io
import pickle
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from loader.errors import TransformError
from loader.feed.transforms import Transform, Transforms


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A method of a user's sequence, apart from the sequence.

    A sequence is a Keras object, and a worker that unpickled one would import Keras. So a worker gets a stand-in with what the
    user's own classes define and what the user's code put on the instance. In the process that trains, the method is called
    on the sequence itself.

    Attributes:
        owner: the sequence.
        name: of the method.
        base: the class that the user's are derived from.
        attributes: returns what the user put on the sequence, given it.
    """

    owner: weakref.ref[Any]
    name: str
    base: type
    attributes: Callable[[Any], Mapping[str, Any]]

    def __call__(self, x: Any, y: Any, rng: np.random.Generator) -> Any:
        """Call the method on the sequence."""
        return getattr(self.owner(), self.name)(x, y, rng)


def portable(transforms: Transforms) -> bytes:
    """Return functions as bytes that `pickle.loads` turns back, in a process that has only their modules.

    Raises:
        TransformError: they hold something that cannot be sent.
    """
    functions = [function for function in (transforms.sample, transforms.batch) if function is not None]
    if not functions:
        return b""
    from loader.workers.sequence_copy import StandInPickler  # noqa: PLC0415  # a feed without transforms does without cloudpickle

    hooks = [(function.owner(), function) for function in functions if isinstance(function, Hook)]
    users = {class_ for owner, hook in hooks for class_ in type(owner).__mro__ if not issubclass(hook.base, class_)}
    sent = Transforms(sample=_apart(transforms.sample), batch=_apart(transforms.batch))
    data = io.BytesIO()
    try:
        with _by_value({sys.modules[class_.__module__] for class_ in users if class_.__module__ in sys.modules}):
            sequences = [(owner, hook.attributes(owner)) for owner, hook in hooks]
            StandInPickler(data, sequences, next((hook.base for _, hook in hooks), None)).dump(sent)
    except Exception as error:
        raise TransformError(
            f"a transform cannot be sent to worker processes ({type(error).__name__}: {error}); keep what it needs in a form that can be "
            "pickled, which open files, locks and generators are not, or pass use_multiprocessing=False"
        ) from error
    return data.getvalue()


def _apart(function: Transform | None) -> Transform | None:
    if not isinstance(function, Hook):
        return function
    method: Transform = getattr(function.owner(), function.name)
    return method


class _by_value:  # noqa: N801  # it reads as a function
    """Let cloudpickle send what these modules define by value: importing a module with a sequence in it imports Keras."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._modules = list(modules)

    def __enter__(self) -> None:
        import cloudpickle  # noqa: PLC0415  # likewise

        known = cloudpickle.list_registry_pickle_by_value()
        self._modules = [module for module in self._modules if module.__name__ not in known and module.__name__ != "__main__"]
        for module in self._modules:
            cloudpickle.register_pickle_by_value(module)

    def __exit__(self, *_: object) -> None:
        import cloudpickle  # noqa: PLC0415  # likewise

        for module in self._modules:
            cloudpickle.unregister_pickle_by_value(module)


def exception_bytes(error: BaseException) -> bytes | None:
    """Return an exception as bytes for `exception_of` in the process that trains; None if that cannot be.

    What cannot be imported goes by value: an exception of a script or a notebook. Where its class came from there, it is the
    same class again when it comes back.
    """
    for by_value in (False, True):
        try:
            if by_value:
                import cloudpickle  # noqa: PLC0415  # most errors do without it

                data: bytes = cloudpickle.dumps(error)
            else:
                data = pickle.dumps(error)
            exception_of(data)  # what does not come back here would not come back there
        except BaseException:  # noqa: BLE001, S112  # an exception's class can make pickling fail in any way
            continue
        return data
    return None


def exception_of(data: bytes) -> BaseException:
    """Return the exception.

    Raises:
        TypeError: it comes back as something else.
        BaseException: whatever else its class does.
    """
    error = pickle.loads(data)  # noqa: S301  # from our own worker, through a pipe that nobody else has
    if not isinstance(error, BaseException):
        raise TypeError(f"an exception came back as {type(error).__name__}")
    return error
