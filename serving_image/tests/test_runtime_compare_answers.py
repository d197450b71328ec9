"""Answers of two servers told apart, and the stability of what they predict."""

import json
import math
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_runtime.compare_answers import (
    Answer,
    Difference,
    Kind,
    UnreadableError,
    differ,
    leaves,
    rows,
    same,
)
from slipway_runtime.compare_psi import BINS, CATEGORIES, COLUMNS, FLOOR, LEAST, Column, Stability

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text()
JSON = st.recursive(
    SINGLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def told(stable: list[Any], shadow: list[Any]) -> Difference:
    return differ(stable, shadow, lambda *_: None)


def mlflow(document: Any) -> list[Any]:
    return list(rows(Kind.MLFLOW, Answer(200, json.dumps(document).encode())))


def tensors(document: Any, tail: bytes = b"") -> list[Any]:
    header = json.dumps(document).encode()
    length = str(len(header)) if tail else None
    return list(rows(Kind.INFERENCE, Answer(200, header + tail, length)))


@pytest.mark.parametrize(
    "stable, shadow, equal",
    [
        (1, 1.0, True),
        (1.0, 1.0 + 9e-7, True),
        (1.0, 1.0 + 2e-6, False),
        (1e6, 1e6 + 0.9, True),
        (1e6, 1e6 + 1.1, False),
        (0.0, 9e-10, True),
        (0.0, 2e-9, False),
        (math.nan, math.nan, True),
        (math.nan, 0.0, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (math.inf, 1e308, False),
        (10**400, 10**400, True),
        (10**400, 1.0, False),
        ("a", "a", True),
        ("a", "A", False),
        ("1", 1, False),
        (True, 1, False),
        (True, True, True),
        (None, None, True),
        (None, 0, False),
        ([], [], True),
        ([], {}, False),
    ],
)
def test_what_is_equal(stable: Any, shadow: Any, equal: bool) -> None:
    assert same(stable, shadow) is equal


@given(FINITE, FINITE)
def test_numbers_are_equal_as_numpy_has_it(stable: float, shadow: float) -> None:
    with np.errstate(over="ignore"):
        expected = bool(np.isclose(shadow, stable, rtol=1e-6, atol=1e-9))
    assert same(stable, shadow) is expected


@given(st.lists(JSON, max_size=6))
def test_an_answer_agrees_with_itself(predictions: list[Any]) -> None:
    again = json.loads(json.dumps(predictions))
    assert told(predictions, again) == Difference(False, len(predictions), 0)


def test_rows_that_differ_are_counted() -> None:
    assert told([0, 1, 0, 1], [0, 1, 1, 0]) == Difference(False, 4, 2)
    assert bool(told([0, 1], [0, 1])) is False and bool(told([0, 1], [0, 0])) is True
    assert told([0, 1, 1], [0]) == Difference(False, 3, 2)
    assert told([[0.1, 0.9]], [[0.1 + 1e-12, 0.9]]) == Difference(False, 1, 0)
    assert told([{"label": "a", "p": 0.5}], [{"label": "b", "p": 0.5}]) == Difference(False, 1, 1)
    assert told([{"label": "a"}], [{"label": "a", "p": 0.5}]) == Difference(False, 1, 1)
    assert told([], []) == Difference(False, 0, 0)


def test_a_value_within_the_tolerance_is_told_as_stables() -> None:
    seen: list[Any] = []
    differ([0.5, 0.5], [0.5 + 1e-9, 0.7], lambda *pair: seen.append(pair))
    assert seen == [({(): 0.5}, {(): 0.5}), ({(): 0.5}, {(): 0.7})]


def test_the_leaves_of_a_value() -> None:
    assert leaves(7) == {(): 7}
    assert leaves({"a": [1, {"b": []}]}) == {("a", 0): 1, ("a", 1, "b"): []}


def test_rows_of_mlflows_protocol() -> None:
    assert mlflow({"predictions": [1, 2]}) == [1, 2]
    assert mlflow({"predictions": [{"a": 1}]}) == [{"a": 1}]
    assert mlflow({"predictions": {"a": [1, 2]}}) == [{"a": [1, 2]}]
    assert mlflow({"predictions": 3}) == [3]
    assert mlflow({"choices": []}) == [{"choices": []}]
    (nan,) = rows(Kind.MLFLOW, Answer(200, b'{"predictions": [NaN]}'))
    assert math.isnan(nan)


def test_rows_of_the_inference_protocol() -> None:
    one = {"name": "label", "datatype": "INT64", "shape": [2], "data": [0, 1]}
    two = {"name": "p", "datatype": "FP64", "shape": [2, 2], "data": [[0.1, 0.9], [0.8, 0.2]]}
    assert tensors({"id": "x", "outputs": [one, two]}) == [
        {"label": [0], "p": [0.1, 0.9]},
        {"label": [1], "p": [0.8, 0.2]},
    ]
    assert tensors({"outputs": [one, two | {"shape": [4], "name": "q"}]}) == [
        {"label": [0, 1], "q": [0.1, 0.9, 0.8, 0.2]}
    ]
    assert tensors({"outputs": [one | {"shape": [0], "data": []}]}) == []


def test_rows_of_binary_tensors() -> None:
    numbers = {"name": "p", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    words = {"name": "w", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}}
    tail = struct.pack("<2f", 0.5, 2.0) + b"\x01\0\0\0a\x02\0\0\0bc"
    assert tensors({"outputs": [numbers, words]}, tail) == [
        {"p": [0.5], "w": ["a"]},
        {"p": [2.0], "w": ["bc"]},
    ]


@pytest.mark.parametrize(
    "kind, content, length",
    [
        (Kind.MLFLOW, b"", None),
        (Kind.MLFLOW, b"<html>", None),
        (Kind.MLFLOW, b"\xff", None),
        (Kind.MLFLOW, b"[" * 100_000, None),
        (Kind.INFERENCE, b"[]", None),
        (Kind.INFERENCE, b"{}", None),
        (Kind.INFERENCE, b'{"outputs": 1}', None),
        (Kind.INFERENCE, b'{"outputs": [1]}', None),
        (Kind.INFERENCE, b'{"outputs": [{"name": "a", "shape": [2], "data": [1]}]}', None),
        (Kind.INFERENCE, b'{"outputs": [{"name": "a", "shape": [1], "data": 1}]}', None),
        (Kind.INFERENCE, b'{"outputs": []}', "x"),
        (
            Kind.INFERENCE,
            b'{"outputs": [{"name": "a", "shape": [1], "datatype": "INT8", '
            b'"parameters": {"binary_data_size": 9}}]}',
            None,
        ),
    ],
)
def test_an_answer_that_makes_no_sense(kind: Kind, content: bytes, length: str | None) -> None:
    with pytest.raises(UnreadableError):
        rows(kind, Answer(200, content, length))


def index_of(stable: list[Any], shadow: list[Any]) -> float:
    column = Column()
    for pair in zip(stable, shadow, strict=True):
        column.add(*pair)
    return column.index()


def test_the_index_of_categories_by_hand() -> None:
    stable, shadow = ["a"] * 60 + ["b"] * 40, ["a"] * 50 + ["b"] * 50
    expected = (0.5 - 0.6) * math.log(0.5 / 0.6) + (0.5 - 0.4) * math.log(0.5 / 0.4)
    assert index_of(stable, shadow) == pytest.approx(expected)
    assert index_of(stable, stable) == 0


def test_an_empty_category_counts_as_the_floor() -> None:
    expected = (FLOOR - 0.5) * math.log(FLOOR / 0.5) + (1 - 0.5) * math.log(1 / 0.5)
    assert index_of(["a", "b"] * 50, ["a"] * 100) == pytest.approx(expected)


def test_the_index_of_numbers_is_that_of_bins_between_stables_quantiles() -> None:
    source = random.Random(5)  # noqa: S311  (no secret)
    stable = [source.gauss() for _ in range(3000)]
    shadow = [source.gauss(0.5) for _ in range(3000)]
    edges = np.quantile(stable[:LEAST], np.arange(1, BINS) / BINS)
    q, p = (
        np.maximum(np.bincount(np.searchsorted(edges, side), minlength=BINS) / 3000, FLOOR)
        for side in (stable, shadow)
    )
    assert index_of(stable, shadow) == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    assert index_of(stable, shadow) > 0.2
    again = [source.gauss() for _ in range(3000)]
    assert index_of(stable, again) < 0.05


def test_numbers_of_few_kinds_are_categories() -> None:
    stable = [float(n % CATEGORIES) for n in range(1000)]
    assert index_of(stable, [int(value) for value in stable]) == 0
    assert index_of(stable, [0.0] * 1000) > 1


def test_values_without_end_take_memory_with_an_end() -> None:
    for values in (
        [f"text {n}" for n in range(20_000)],
        [math.nan if n % 2 else float(n) for n in range(20_000)],
        [None] * 20_000,
    ):
        column = Column()
        for n, value in enumerate(values):
            column.add(value, float(n))
        assert len(column._counts) <= 4 * LEAST + 1
        assert math.isfinite(column.index())


def test_the_largest_of_several_values_and_none_before_enough_requests() -> None:
    stability = Stability()
    for n in range(LEAST):
        assert math.isnan(stability.index())
        stability.add({("a",): 0, ("b",): n % 2}, {("a",): 0, ("b",): 0, ("c",): 1})
        stability.requests += 1
    assert stability.index() == pytest.approx(index_of([0, 1] * 100, [0] * 200))


def test_columns_have_an_end() -> None:
    stability = Stability()
    row: dict[tuple[str | int, ...], float] = {(n,): 1.0 for n in range(10 * COLUMNS)}
    stability.add(row, row)
    assert len(stability._columns) == COLUMNS
