"""All variables of a Keras model that training changes, to be stored and put back. Keras itself is not imported here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from loader.callbacks.resume_file import NamedArray, named_array
from loader.errors import listing
from manifests.format.npyfile import AnyArray

METRICS = "metrics"
"""The group that Keras resets at the beginning of each epoch."""

RANDOM = "random"
"""The group that draws what no variable of the model does: dropout without a seed, on torch."""

Groups = dict[str, list[Any]]
"""Name -> Keras variables."""


def variable_groups(model: Any, optimizer_class: type) -> Groups:
    """Return a model's variables: its layers' with their seed generators, each optimizer's, and the metrics'.

    Optimizers are also found where a model with its own `train_step` keeps them: as attributes of the model or of a layer, or in
    lists and dicts there.
    """
    groups: Groups = {"model": list(model.variables)}
    seen: set[int] = set()
    for layer in model._flatten_layers():  # noqa: SLF001  # `layers` leaves out the layers of layers
        for name, value in sorted(vars(layer).items()):
            # TensorFlow's own bookkeeping of all attributes begins so.
            for optimizer in () if name.startswith("_self_") else _instances(value, optimizer_class):
                if id(optimizer) not in seen:
                    seen.add(id(optimizer))
                    groups[f"{len(seen)}-{name}"] = list(optimizer.variables)
    groups[METRICS] = list(model.metrics_variables)
    return groups


class TorchRandomState:
    """The state of torch's own random numbers on a device, as something that can be stored and put back like a variable."""

    dtype = "uint8"

    def __init__(self, device: str) -> None:
        """Take a device: `cpu`, or `cuda:0`."""
        self.path = f"torch random numbers of {device}"
        self._device = device

    @property
    def value(self) -> Any:
        """The state: a torch tensor, uint8, of one axis."""
        torch = sys.modules["torch"]
        return torch.get_rng_state() if self._device == "cpu" else torch.cuda.get_rng_state(self._device)

    @property
    def shape(self) -> tuple[int, ...]:
        """The state's."""
        return tuple(self.value.shape)

    def assign(self, array: AnyArray) -> None:
        """Put a state back."""
        torch = sys.modules["torch"]
        state = torch.from_numpy(np.array(array))
        if self._device == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, self._device)


def random_states(backend: str) -> list[Any]:
    """Return the random states that a backend has beside the model's variables: torch's, one a device."""
    if backend != "torch":
        return []
    cuda = sys.modules["torch"].cuda
    return [TorchRandomState("cpu"), *(TorchRandomState(f"cuda:{i}") for i in range(cuda.device_count() if cuda.is_available() else 0))]


def values_of(groups: Groups, to_numpy: Callable[[Any], AnyArray]) -> dict[str, list[NamedArray]]:
    """Return the variables' values."""
    return {group: [named_array(_name(variable), to_numpy(variable)) for variable in variables] for group, variables in groups.items()}


def mismatches(stored: Mapping[str, Sequence[NamedArray]], groups: Groups) -> list[str]:
    """Say which variables differ in number, shape or dtype, one phrase each; nothing if all can be put back."""
    phrases = []
    for group in dict.fromkeys([*stored, *groups]):
        then, now = stored.get(group, ()), groups.get(group, ())
        if len(then) != len(now):
            phrases.append(f"{group} had {len(then)} variables, now it has {len(now)}")
            continue
        for item, variable in zip(then, now, strict=True):
            shape, dtype = tuple(variable.shape), str(variable.dtype)
            if item.array.shape != shape or item.dtype != dtype:
                phrases.append(f"{item.name} was {item.dtype} {item.array.shape}, now {_name(variable)} is {dtype} {shape}")
    return phrases


def put_back(stored: Sequence[NamedArray], variables: Sequence[Any], to_numpy: Callable[[Any], AnyArray]) -> None:
    """Give variables their stored values; they have the same number, shapes and dtypes."""
    for item, variable in zip(stored, variables, strict=True):
        array = item.array
        if array.dtype.name != item.dtype:
            array = array.view(np.asarray(to_numpy(variable)).dtype)
        variable.assign(array)


def described(phrases: Sequence[str]) -> str:
    """Join phrases for a message."""
    return listing(list(phrases))


def _instances(value: object, class_: type) -> Iterator[Any]:
    if isinstance(value, class_):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _instances(item, class_)
    elif isinstance(value, dict):
        yield from _instances(list(value.values()), class_)


def _name(variable: Any) -> str:
    return str(getattr(variable, "path", None) or getattr(variable, "name", "a variable"))
