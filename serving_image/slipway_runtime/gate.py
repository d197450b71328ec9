"""The parity gate: a compiled model answers requests only where it was seen to answer as MLflow.

Two trials, both on the model's own example and on rows drawn from its signature, in batches of
many sizes because libraries add up in another order for another size:

- `against_native`: the compiled model's predictions against the native model's. Quick, and before
  the compiled model answers anything.
- `against_mlflow`: whole answers against MLflow's own, byte for byte, in every format of request.
  It needs MLflow, which takes a second more to be imported; until then only tables are answered.

Rows are drawn around the example's, in many magnitudes, whole and not, and, for trees, on and
next to their thresholds, where a difference in rounding would show. The draw is seeded: a model
passes always or never.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import orjson

from slipway_runtime.compiled import Array
from slipway_runtime.extract import FORMATS, Extractor, Matrix
from slipway_runtime.fast import INFER, FastPath

_ROWS: Final = 400
_SIZES: Final = (1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 5, 8, 17, 32, 100)
_SCALES: Final = (0.01, 0.1, 1.0, 1.0, 10.0, 1e3, 1e6)
_BODIES: Final = ((1, 4), (2, 1), (3, 1), (20, 1))
_DATATYPES: Final = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
}
_EXTRA: Final = "a column the model does not know"


class DifferentAnswerError(Exception):
    """The compiled model is not the native one; the message says where, without any data."""


def draw(extractor: Extractor, example: Matrix | None, thresholds: Sequence[Array]) -> Matrix:
    """Returns rows to try a model on, of shape (rows, columns), of the signature's types.

    Args:
        extractor: holds the signature.
        example: rows the model was saved with, or None.
        thresholds: for each column, values at which the model's behavior changes; or nothing.
    """
    random = np.random.default_rng(0)
    width = len(extractor.kinds)
    scales = random.choice(_SCALES, size=(_ROWS, 1))
    rows: Matrix = random.normal(size=(_ROWS, width)) * scales
    if example is not None:
        near = example[random.integers(len(example), size=_ROWS // 2)]
        rows[: _ROWS // 2] = near * (1 + 0.3 * random.normal(size=near.shape))
    if thresholds:
        for at, values in enumerate(thresholds):
            if len(values):
                _place(rows[_ROWS // 4 :, at], values, random)
    whole = random.random(size=rows.shape) < 0.1
    rows[whole] = np.round(rows[whole])
    rows[0], rows[1] = 0.0, 1.0
    for at, kind in enumerate(extractor.kinds):
        if kind == "float":
            rows[:, at] = rows[:, at].astype(np.float32)
        elif kind in ("long", "integer"):
            rows[:, at] = np.clip(np.round(rows[:, at]), -(2**31), 2**31 - 1)
        elif kind == "boolean":
            rows[:, at] = rows[:, at] > 0
    if example is not None:
        rows = np.concatenate([example[: _ROWS // 4], rows])
    return rows


def _place(column: Array, values: Array, random: np.random.Generator) -> None:
    """Puts thresholds, and the numbers next to them in both precisions, all over a column."""
    chosen = random.choice(values, size=len(column))
    single = chosen.astype(np.float32)
    choices = np.stack(
        [
            chosen,
            np.nextafter(chosen, np.inf),
            np.nextafter(chosen, -np.inf),
            np.nextafter(single, np.float32(np.inf)).astype(np.float64),
            np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
            single.astype(np.float64),
        ]
    )
    column[:] = choices[random.integers(len(choices), size=len(column)), np.arange(len(column))]


def batches(rows: Matrix) -> Iterator[Matrix]:
    """Cuts rows into batches of many sizes, one row to all of them."""
    start = 0
    for size in _SIZES:
        yield rows[start : start + size]
        start += size
    yield rows


def against_native(fast: FastPath, native: Callable[[Matrix], Any], rows: Matrix) -> int:
    """Compares predictions; returns how many rows were compared.

    Raises:
        DifferentAnswerError: they are not the same, in value or in type.
    """
    count = 0
    for batch in batches(rows):
        expected = np.asarray(native(batch)).tolist()
        # As JSON, so that 1 is not 1.0, and -0.0 not 0.0.
        if json.dumps(expected) != json.dumps(fast.predict(batch).tolist()):
            raise DifferentAnswerError(f"other predictions in a batch of {len(batch)}")
        count += len(batch)
    return count


def is_rowwise(fast: FastPath, rows: Matrix) -> bool:
    """Tells whether each row is predicted the same alone and in batches of many sizes."""
    alone = [json.dumps(fast.predict(row[None, :]).tolist()[0]) for row in rows]
    start = 0
    for size in (*_SIZES, len(rows)):
        start = 0 if start + size > len(rows) else start
        together = fast.predict(rows[start : start + size]).tolist()
        if [json.dumps(value) for value in together] != alone[start : start + size]:
            return False
        start += size
    return True


Infer = Callable[[bytes, int | None], tuple[bytes, int | None]]


def against_mlflow(
    fast: FastPath, score: Callable[[bytes], bytes], infer: Infer, rows: Matrix
) -> tuple[int, list[str]]:
    """Compares whole answers; returns how many, and the formats in which they are the same.

    Args:
        fast: the compiled model.
        score: gives MLflow's answers to requests in its own protocol.
        infer: gives them to requests in the Open Inference Protocol.
        rows: rows to ask about, of shape (rows, columns).

    Raises:
        DifferentAnswerError: they differ in a table's format, or in every format.
    """
    count = 0
    extractor = fast.extractor
    proved: list[str] = []
    for name in FORMATS:
        if name not in extractor.formats:
            continue
        same = True
        for body in _bodies(extractor, name, rows):
            answer = fast.answer(body)
            # What the fast path leaves to MLflow cannot be wrong.
            if answer is not None:
                same = same and answer == score(body)
                count += 1
        if same:
            proved.append(name)
        elif name.startswith("dataframe"):
            raise DifferentAnswerError(f"other answers to {name}")
    if not proved:
        raise DifferentAnswerError("other answers in every format")
    if extractor.names is not None:
        same = True
        for body in _inferences(extractor, rows):
            answered = fast.infer(body, None)
            if answered is not None:
                same = same and answered == infer(body, None)
                count += 1
        proved += [INFER] if same else []
    return count, proved


def _inferences(extractor: Extractor, rows: Matrix) -> Iterator[bytes]:
    """Returns requests of the Open Inference Protocol: a tensor a column, and one for all."""
    names = extractor.names or ()
    for size in (1, 3, 20):
        batch = rows[:size].tolist()
        columns = [
            {"name": name, "shape": [size], "datatype": _DATATYPES[kind], "data": column}
            for name, kind, column in zip(
                names,
                extractor.kinds,
                zip(*_values(rows[:size], extractor.kinds), strict=True),
                strict=True,
            )
        ]
        yield orjson.dumps({"inputs": columns})
        if set(extractor.kinds) == {"double"}:
            tensor = {"name": "all", "shape": [size, len(names)], "datatype": "FP64"}
            yield orjson.dumps({"id": "1", "inputs": [tensor | {"data": batch}]})


def _bodies(extractor: Extractor, name: str, rows: Matrix) -> Iterator[bytes]:
    start = 0
    for size, times in _BODIES:
        for _ in range(times):
            batch = _values(rows[start : start + size], extractor.kinds)
            start += size
            for content in _contents(extractor.names, name, batch):
                yield orjson.dumps({name: content})


def _contents(
    names: tuple[str, ...] | None, name: str, rows: list[list[Any]]
) -> Iterator[dict[str, Any] | list[Any]]:
    """Returns the ways to write rows in one format."""
    if names is None:
        yield rows
    elif name == "dataframe_split":
        yield {"columns": list(names), "data": rows}
        yield {"columns": list(names), "data": rows, "index": list(range(len(rows)))}
        turned = [["text", *reversed(row)] for row in rows]
        yield {"columns": [_EXTRA, *reversed(names)], "data": turned}
    elif name == "inputs":
        yield {
            name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
    else:
        yield [dict(zip(names, row, strict=True)) for row in rows]
        yield [dict(reversed(list(zip(names, row, strict=True)))) for row in rows]


def _values(rows: Matrix, kinds: Sequence[str]) -> list[list[Any]]:
    """Returns rows as JSON values: whole numbers as such, which a double column may hold too."""

    def value(number: float, kind: str) -> Any:
        if kind == "boolean":
            return bool(number)
        if kind in ("long", "integer") or (number == int(number) and abs(number) < 2**31):
            return int(number)
        return number

    return [
        [value(number, kind) for number, kind in zip(row, kinds, strict=True)]
        for row in rows.tolist()
    ]
