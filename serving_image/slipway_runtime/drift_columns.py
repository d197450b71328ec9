"""Finds a profile's inputs in what MLflow hands to a model: a table, an array or named tensors.

A request may name its columns otherwise than the training data did, or not at all, and be answered
all the same, by their places. An input that is found neither by its name nor by its place is left
out: nobody knows that it is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from slipway_runtime.drift_profile import Profile, input_names
from slipway_runtime.modelfile import ModelFile
from slipway_runtime.training_profile import is_output

# Labels longer than that are looked up anew each time and not kept.
_KEPT_LABELS: Final = 1000

Places = Sequence[tuple[int, int | None]]
"""Of each input that is found, its place in the profile and in the data, or None if missing."""


def length(data: Any) -> int:
    """Returns how many rows a model's input has, 0 where it has none as we know them.

    Raises:
        Exception: it is something else, like a question to a language model.
    """
    if isinstance(data, Mapping):
        return min(1 if _is_scalar(column) else len(column) for column in data.values())
    return len(data) if hasattr(data, "columns") or data.ndim == 2 else 0


def values(data: Any, row: int, places: Places) -> list[Any]:
    """Returns a row's values at places, None for what is missing or not one value."""
    line: Any
    if isinstance(data, Mapping):
        columns = list(data.values())
        return [None if at is None else _one(columns[at], row) for _, at in places]
    # One row of a table is had for less than one value of each column.
    line = data.iloc[row].tolist() if hasattr(data, "columns") else data[row]
    return [None if at is None else line[at] for _, at in places]


class Columns:
    """Where a profile's inputs are in the data of one request after the other. For any thread.

    Args:
        profile: the profile.
        model: what the model's ``MLmodel`` says, or None for one without a signature.
    """

    def __init__(self, profile: Profile, model: ModelFile | None) -> None:
        self._wanted = {
            feature.name: place
            for place, feature in enumerate(profile.features)
            if not is_output(feature.name)
        }
        signed = None if model is None else input_names(model)
        self._signed = signed is not None
        self._names = list(self._wanted) if signed is None else signed
        numbers = {name: int(name) for name in self._wanted if name.isdecimal()}
        self._numbers = {name: at for name, at in numbers.items() if str(at) == name}
        # A tensor's columns have no names, whatever the request calls them.
        self._tensor = model is not None and model.matrix is not None
        self._last: tuple[Any, Places] | None = None

    def find(self, data: Any) -> Places:
        """Returns the places of the inputs that are found in a request's data."""
        if isinstance(data, Mapping):
            key: Any = list(data)
        else:
            key = data.columns.tolist() if hasattr(data, "columns") else data.shape[1]
        last = self._last
        if last is not None and last[0] == key:
            return last[1]
        found = self._match(key)
        if isinstance(key, int) or len(key) <= _KEPT_LABELS:
            self._last = (key, found)
        return found

    def _match(self, labels: list[Any] | int) -> Places:
        width = labels if isinstance(labels, int) else len(labels)
        within = {name: at for name, at in self._numbers.items() if at < width}
        if self._tensor:
            return self._places(within)
        named = within
        if not isinstance(labels, int):
            texts = [str(label) for label in labels]
            named = {text: at for at, text in enumerate(texts) if text in self._wanted}
        if len(named) == len(self._wanted):
            return self._places(named)
        if not self._signed and len(self._numbers) == len(self._wanted):
            # The profile of an array.
            return self._places(within)
        if named:
            return [(place, named.get(name)) for name, place in self._wanted.items()]
        if width == len(self._names):
            return self._places({name: at for at, name in enumerate(self._names)})
        return []

    def _places(self, found: Mapping[str, int]) -> Places:
        return [(place, found[name]) for name, place in self._wanted.items() if name in found]


def _is_scalar(column: Any) -> bool:
    return np.ndim(column) == 0 if hasattr(column, "ndim") else not isinstance(column, list | tuple)


def _one(column: Any, row: int) -> Any:
    try:
        return np.asarray(column if _is_scalar(column) else column[row]).item()
    except (LookupError, TypeError, ValueError):
        return None
