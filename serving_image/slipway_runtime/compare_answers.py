"""Answers of two model servers to the same request: read, and told apart. Pure."""

import enum
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from slipway_runtime.v2_data import DTYPES

RELATIVE: Final = 1e-6
ABSOLUTE: Final = 1e-9

Path = tuple[str | int, ...]
Leaves = Mapping[Path, Any]
"""A prediction's single values by where they stand in it; ``()`` where it is one value itself."""


class Kind(enum.Enum):
    """The protocol of a request: MLflow's scoring protocol, or the Open Inference Protocol."""

    MLFLOW = enum.auto()
    INFERENCE = enum.auto()


class UnreadableError(Exception):
    """An answer that makes no sense; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What a model server said.

    Attributes:
        status: of HTTP.
        content: the body.
        length: the header ``Inference-Header-Content-Length``, where there is one.
    """

    status: int
    content: bytes
    length: str | None = None

    @property
    def predicts(self) -> bool:
        """Whether it says that it holds predictions."""
        return self.status // 100 == 2


@dataclass(frozen=True)
class Difference:
    """How the shadow's answer differs from stable's.

    Attributes:
        status: whether their classes (2xx, 4xx, 5xx) do.
        rows: how many rows were compared.
        differing: how many of them differ, those that one of the two lacks among them.
    """

    status: bool = False
    rows: int = 0
    differing: int = 0

    def __bool__(self) -> bool:
        return self.status or self.differing > 0


def rows(kind: Kind, answer: Answer) -> Sequence[Any]:
    """Returns the predictions of an answer that has them, a value a row.

    Raises:
        UnreadableError: they cannot be made out.
    """
    try:
        content, length = answer.content, answer.length
        size = len(content) if length is None else int(length)
        document = _parse(content[:size])
        if kind is Kind.INFERENCE:
            return _Tensors(document["outputs"], content[size:])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"an answer that makes no sense ({type(error).__name__})") from None
    found = document
    if isinstance(document, dict) and "predictions" in document:
        found = document["predictions"]
    return found if isinstance(found, list) else [found]


def differ(
    stable: Sequence[Any], shadow: Sequence[Any], seen: Callable[[Leaves, Leaves], None]
) -> Difference:
    """Returns how the shadow's rows differ from stable's.

    Numbers are equal within RELATIVE of stable's and ABSOLUTE, as in ``numpy.isclose``, NaN equals
    NaN, and all else is equal or not.

    Args:
        stable, shadow: what `rows` gave.
        seen: is told the values of each row that both have, stable's and the shadow's; a shadow's
            value that equals stable's within the tolerance is told as stable's.
    """
    most = max(len(stable), len(shadow))
    differing = most - min(len(stable), len(shadow))
    for one, other in zip(stable, shadow, strict=False):
        left, right = leaves(one), leaves(other)
        equal = {path for path in left.keys() & right.keys() if same(left[path], right[path])}
        differing += not len(equal) == len(left) == len(right)
        seen(left, {path: (left if path in equal else right)[path] for path in right})
    return Difference(False, most, differing)


def same(stable: Any, shadow: Any) -> bool:
    """Whether two single values are equal; see `differ`."""
    if _is_number(stable) and _is_number(shadow):
        if stable == shadow or (stable != stable and shadow != shadow):
            return True
        # An integer may be more than a float holds.
        try:
            gap = abs(stable - shadow)
            return bool(math.isfinite(gap) and gap <= ABSOLUTE + RELATIVE * abs(stable))
        except OverflowError:
            return False
    return type(stable) is type(shadow) and bool(stable == shadow)


def leaves(value: Any) -> Leaves:
    """Returns the single values in ``value``; an empty list or object is one itself."""
    found: dict[Path, Any] = {}
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict) and item:
            waiting += [((*path, key), inner) for key, inner in item.items()]
        elif isinstance(item, list) and item:
            waiting += [((*path, place), inner) for place, inner in enumerate(item)]
        else:
            found[path] = item
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # NaN and Infinity, as MLflow writes them


class _Tensors(Sequence[Any]):
    """The rows of named tensors: an object of each output's part a row, or a single row where they
    are not of one length.
    """

    def __init__(self, outputs: Sequence[Any], tail: bytes) -> None:
        self._tensors: dict[str, Sequence[Any]] = {}
        lengths = set()
        for output in outputs:
            size = (output.get("parameters") or {}).get("binary_data_size")
            if size is None:
                values = list(_flat(output["data"]))
            else:
                if not 0 <= size <= len(tail):
                    raise ValueError("binary data are missing")
                values = _elements(output["datatype"], tail[:size])
                tail = tail[size:]
            shape = [int(extent) for extent in output["shape"]]
            if math.prod(shape) != len(values):
                raise ValueError("a shape is not its data's")
            self._tensors[output["name"]] = values
            lengths.add(shape[0] if shape else -1)
        one = len(lengths) == 1 and -1 not in lengths
        self._length, self._split = (lengths.pop(), True) if one else (1, False)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < self._length:
            raise IndexError(row)
        if not self._split:
            return self._tensors
        found = {}
        for name, values in self._tensors.items():
            width = len(values) // self._length
            found[name] = values[row * width : (row + 1) * width]
        return found


def _flat(data: list[Any]) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _elements(datatype: str, data: bytes) -> list[Any]:
    if datatype != "BYTES":
        found: list[Any] = np.frombuffer(data, DTYPES[datatype]).tolist()
        return found
    found, start = [], 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if end > len(data):
            raise ValueError("an element is missing")
        found.append(data[start + 4 : end].decode(errors="surrogateescape"))
        start = end
    return found
