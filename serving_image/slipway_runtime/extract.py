"""From a plain JSON request to the model's matrix, without a table in between.

An `Extractor` is compiled from a signature once. It takes the requests that leave no room for
interpretation (every column there, each value of the very type the signature names) and returns
None for all others, however valid: those go through MLflow's own functions, which cast, fill and
refuse by rules that are MLflow's business. So it can be quick without being a second opinion.

Types taken, by the signature's word (``mlflow.types.DataType``):

=========  ===============================  ================
word       JSON values                      in the matrix
=========  ===============================  ================
double     numbers, whole or not            the same
float      numbers, whole or not            rounded to 32 bits
long       whole numbers                    the same
integer    whole numbers of 32 bits         the same
boolean    true and false                   1 and 0
=========  ===============================  ================

Numbers from 2**53 on are left to MLflow: as float64 they would not be what was sent.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np

from slipway_runtime.modelfile import ModelFile

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]

_NUMBERS: Final = frozenset({int, float})
_TYPES: Final[dict[str, frozenset[type]]] = {
    "double": _NUMBERS,
    "float": _NUMBERS,
    "long": frozenset({int}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
}
_TENSORS: Final = {"float64": "double", "float32": "float", "int64": "long", "int32": "integer"}
_EXACT: Final = 2**53
_INT32: Final = 2**31
_ORDERS_KEPT: Final = 64
_NAMES_LIMIT: Final = 16_384

FORMATS: Final = ("dataframe_split", "dataframe_records", "inputs", "instances")


class Extractor:
    """Reads the requests of one signature.

    Args:
        names: the columns in the signature's order; None for an unnamed tensor.
        kinds: the type of each column, a word of the table above.

    Attributes:
        names: the columns' names, or None.
        kinds: the columns' types.
        formats: the formats taken; a gate may take some away.
    """

    def __init__(self, names: Sequence[str] | None, kinds: Sequence[str]) -> None:
        self.names = None if names is None else tuple(names)
        self.kinds = tuple(kinds)
        self.formats: frozenset[str] = frozenset(FORMATS if names else ("inputs", "instances"))
        self._width = len(self.kinds)
        self._listed = list(names or ())
        self._pick = _getter(self._listed)
        self._orders: dict[tuple[str, ...], Callable[[Any], Sequence[Any]]] = {}
        allowed = {_TYPES[kind] for kind in self.kinds}
        # Where all columns are alike, the values need not be looked at column by column.
        self._alike = next(iter(allowed)) if len(allowed) == 1 else None
        self._rounded = [at for at, kind in enumerate(self.kinds) if kind == "float"]
        self._narrow = [at for at, kind in enumerate(self.kinds) if kind == "integer"]

    @classmethod
    def of(cls, model: ModelFile) -> "Extractor | None":
        """Returns the extractor for a model's signature, or None where there can be none."""
        if model.has_params:
            # Params have defaults of the model's own, so even a request without any has some.
            return None
        if (tensor := model.matrix) is not None:
            kind, width = tensor
            return cls(None, [_TENSORS[kind]] * width) if kind in _TENSORS else None
        if (columns := model.columns) is None or any(kind not in _TYPES for _, kind in columns):
            return None
        return cls([name for name, _ in columns], [kind for _, kind in columns])

    def extract(self, request: object) -> Matrix | None:
        """Returns the matrix of a decoded request, of shape (rows, columns), or None.

        Args:
            request: what the JSON decoder made of the body.
        """
        if type(request) is not dict or len(request) != 1:
            return None
        name, content = next(iter(request.items()))
        if name not in self.formats:
            return None
        if self.names is None:
            return self._matrix(content) if type(content) is list else None
        if name == "dataframe_split":
            return self._split(content)
        if name == "inputs":
            return self._columns(content)
        # MLflow makes arrays of additional columns in instances too, and fails on some.
        return self._records(content, exactly=name == "instances")

    def _split(self, content: object) -> Matrix | None:
        if type(content) is not dict:
            return None
        columns, rows = content.get("columns"), content.get("data")
        if type(rows) is not list or type(columns) is not list:
            return None
        if len(content) != 2:
            # An index names the rows; the usual one says nothing, others are MLflow's business.
            if len(content) != 3 or content.get("index") != list(range(len(rows))):
                return None
            if any(type(number) is not int for number in content["index"]):
                return None
        if columns == self._listed:
            return self._matrix(rows)
        if set(map(type, columns)) != {str} or set(map(type, rows)) != {list}:
            return None
        if set(map(len, rows)) != {len(columns)}:
            return None
        pick = self._order(tuple(columns))
        return None if pick is None else self._matrix([pick(row) for row in rows])

    def _order(self, columns: tuple[str, ...]) -> Callable[[Any], Sequence[Any]] | None:
        """Returns what picks the signature's columns out of a row whose columns are these."""
        known = self._orders.get(columns)
        if known is not None:
            return known
        found = {name: at for at, name in enumerate(columns)}
        if len(found) != len(columns) or not all(name in found for name in self._listed):
            return None
        pick = _getter([found[name] for name in self._listed])
        # Only what is worth it is kept: a client must not be able to fill the memory with names.
        if len(columns) <= 2 * self._width + 16 and sum(map(len, columns)) <= _NAMES_LIMIT:
            if len(self._orders) >= _ORDERS_KEPT:
                self._orders = {}
            self._orders[columns] = pick
        return pick

    def _records(self, content: object, exactly: bool) -> Matrix | None:
        if type(content) is not list or set(map(type, content)) != {dict}:
            return None
        if exactly and set(map(len, content)) != {self._width}:
            return None
        try:
            return self._matrix([self._pick(record) for record in content])
        except KeyError:
            return None

    def _columns(self, content: object) -> Matrix | None:
        if type(content) is not dict or set(map(type, content.values())) != {list}:
            return None
        if len(set(map(len, content.values()))) != 1 or len(content) != self._width:
            return None
        try:
            return self._matrix(list(zip(*self._pick(content), strict=True)))
        except KeyError:
            return None

    def _matrix(self, rows: list[Any]) -> Matrix | None:
        """Returns rows of the signature's columns as a matrix, or None."""
        width = self._width
        if len(rows) == 1:
            row = rows[0]
            if not isinstance(row, list | tuple) or len(row) != width:
                return None
            if not self._fits(row):
                return None
            # A value compared with a bound of int stays exact, whatever its own type.
            if max(row) >= _EXACT or min(row) <= -_EXACT:
                return None
            matrix = np.array([row], dtype=np.float64)
        else:
            kinds = set(map(type, rows))
            if not kinds or not kinds <= {list, tuple} or set(map(len, rows)) != {width}:
                return None
            if self._alike is not None:
                if not set(map(type, chain.from_iterable(rows))) <= self._alike:
                    return None
            elif not all(map(self._fits, rows)):
                return None
            flat = chain.from_iterable(rows)
            try:
                values = np.fromiter(flat, dtype=np.float64, count=len(rows) * width)
            except OverflowError:
                return None
            if values.max() >= _EXACT or values.min() <= -_EXACT:
                return None
            matrix = values.reshape(-1, width)
        if self._narrow and not self._in_range(matrix[:, self._narrow]):
            return None
        if self._rounded:
            matrix[:, self._rounded] = matrix[:, self._rounded].astype(np.float32)
        return matrix

    def _fits(self, row: Sequence[Any]) -> bool:
        if self._alike is not None:
            return set(map(type, row)) <= self._alike
        return all(type(value) in _TYPES[kind] for value, kind in zip(row, self.kinds, strict=True))

    @staticmethod
    def _in_range(values: Matrix) -> bool:
        return bool(values.max() < _INT32 and values.min() >= -_INT32)


def _getter(places: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """Returns what picks several items of a row or record, always as a sequence."""
    if len(places) == 1:
        only = itemgetter(*places)
        return lambda row: (only(row),)
    return itemgetter(*places) if places else lambda _: ()


def kinds_dtype(kinds: Iterable[str]) -> str:
    """Returns the type NumPy gives a table with these columns, e.g. ``float64``."""
    numpy_types = {"double": "f8", "float": "f4", "long": "i8", "integer": "i4", "boolean": "?"}
    return np.result_type(*(numpy_types[kind] for kind in kinds)).name
