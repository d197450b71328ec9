"""Values of requests: such as a model is made for, and such as nobody thought of."""

import base64
import json
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .documents import Node, Object, node, text

MARKER: Final = "sesame-4711"
"""Stands in requests for a client's data: no refusal may hold it."""

ODD: Final[tuple[str, ...]] = (
    "null", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "0", "-0", "-0.0", "0.0",
    "1", "2", "-1", "1.0", "3.0", "2.5", "1e0", "1E5", "1e+5", "1.5E-3", "0.30000000000000004",
    "9007199254740992", "9007199254740993", "9007199254740993.0", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "-18446744073709551616", "1" + "0" * 30, "1" + "0" * 400,
    "1" + "0" * 308, "1" + "0" * 309, "-1" + "0" * 309, "1" + "0" * 4299, "1" + "0" * 5000,
    "1." + "0" * 400 + "1", "0." + "0" * 400 + "1", "2.2250738585072011e-308", "5e-324",
    "2.4703282292062327e-324", "1.7976931348623157e308", "1.7976931348623159e308", "2147483647",
    "2147483648", "-2147483649", "16777217", "3.4028235e38", "3.4028236e38", "1e39", "1e16",
    "123456789012345678", "0.1", "1e22", "1e23", "8.5e15", "true", "false", '""', '" "', '"1"',
    '"1.5"', '" 2 "', '"1e3"', '"-0"', '"nan"', '"NaN"', '"inf"', '"-Infinity"', '"1_000"',
    '"0x10"', '"True"', '"true"', '"None"', '"null"', '"\\uff11\\uff12"', '"1,5"', '"9" ',
    '"99999999999999999999"', '"\\u00e9"', '"é"', '"\\ud83d\\ude00"', '"😀"', '"\\ud800"',
    '"\ud800"', '"\\u0000"', '"a\\u0000b"', '"\\n"', '"\\/"', '"\u2028"', '"\\ufeff1"',
    f'"{MARKER}"', '"2024-02-29"', '"2023-02-29"', '"2024-02-29T12:30:00"',
    '"2024-02-29 12:30:00.123456789"', '"2024-02-29T12:30:00Z"', '"2024-02-29T12:30:00+05:30"',
    '"29/02/2024"', '"2024-13-01"', '"20240229"', '"2024"', '"now"', '"1677-01-01"',
    '"9999-12-31"', '"NaT"', '"P1D"', "1709209800", "1709209800000000000", '"AQID"', '"AQI"',
    '"AQID="', '"A*QID"', '"-_8="', "[]", "{}", "[1]", "[1,2]", "[[1]]", "[null]", '["a"]',
    '[1,"a"]', '{"a":1}', '{"c0":1}', "[{}]", "[[]]", "[[],[]]", "[[1],[2,3]]", "[true]", "[NaN]",
)  # fmt: skip
"""JSON as Python's reader takes it, the greatest numbers excepted."""

BROKEN: Final[tuple[str, ...]] = (
    "01", "1.", ".5", "+1", "1e", "1e+", "-", "- 1", "0x1", "1_0", "nan", "inf", "-NaN",
    "+Infinity", "Inf", "None", "True", "undefined", "tru", "nul", "'a'", '"', '"a', '"\\q"',
    '"\\u12"', '"\t"',
    '"\n"', '"\x00"', "1 2", "[1,]", "[,1]", "[1", "]", "{", "{,}", '{"a"}', '{"a":}', '{"a":1,}',
    "{1:2}", "{null:1}", "/**/1", "1//x", "", " ", "1\x00", "1\xa0", "\u20281", "\ufeff1", "1\x0c",
)  # fmt: skip
"""No JSON, not even as Python's reader takes it."""

KEYS: Final[tuple[str, ...]] = (
    '"c0"', '"c1"', '"c9"', '"C0"', '"c0 "', '" c0"', '"0"', '"1"', '""', '"x"', f'"{MARKER}"',
    '"é"', '"e\\u0301"', '"\\ud800"', '"data"', '"columns"', '"index"', '"params"', '"inputs"',
    '"instances"', '"dataframe_split"', '"dataframe_records"', '"input"', '"messages"',
    '"prompt"', '"signature_name"', '"predictions"', '"id"', '"dtype"', '"factor"', "0", "null",
)  # fmt: skip
"""Keys, as JSON text."""

_MOODS: Final = (
    "fine", "raise", "invalid", "internal", "busy", "frame", "series", "named series", "dict",
    "text", "list", "none", "number", "object", "nan", "matrix", "dates", "bytes", "sets", "keys",
    "records", "exit", "surrogate", "huge",
)  # fmt: skip


def _digits(low: int, high: int) -> SearchStrategy[str]:
    return st.text("0123456789", min_size=low, max_size=high)


_SHORT = st.integers(-400, 400).map(lambda value: json.dumps(value / 16))
_FLOAT = st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)
_LONG_DECIMAL = st.builds(
    lambda sign, whole, part, power: f"{sign}{int(whole)}.{part}{power}",
    st.sampled_from(["", "-"]),
    _digits(1, 5),
    _digits(1, 25),
    st.sampled_from(["", "", "e3", "E-7", "e+05", "e-30"]),
)
_SMALL_INT = st.integers(-9, 9).map(str)
_MIDDLING = st.floats(-1e6, 1e6).map(json.dumps)
# A row is taken by a short cut only if each of its values is: great ones have to be rare.
_NUMBER: SearchStrategy[Node] = st.one_of(
    _SHORT, _SMALL_INT, _MIDDLING, _LONG_DECIMAL, st.integers(-(2**40), 2**40).map(str)
)
# In arrays and objects a whole number is no double.
_INNER: SearchStrategy[Node] = st.one_of(_SHORT, _SHORT, _MIDDLING, _NUMBER)
_GREAT: SearchStrategy[Node] = st.one_of(
    _FLOAT, st.integers(-(2**65), 2**65).map(str), st.integers(2**52, 2**54).map(str)
)
_WORD = st.sampled_from(["a", "b", "größe", "", "1", "2024-01-01", MARKER, "😀", "a b", 'A,"B"'])
_DATES = st.sampled_from(
    ["2024-02-29", "2024-02-29T12:30:00", "2024-02-29 12:30:00.5", "1999-12-31T23:59:59.999999999"]
)


def _array(cell: SearchStrategy[Node], size: int | None = None) -> SearchStrategy[Node]:
    low, high = (0, 3) if size is None else (size, size)
    return st.lists(cell, min_size=low, max_size=high).map(lambda items: list(items))


def _point(x: Node, y: "Node | None") -> Node:
    members: list[tuple[str, Node]] = [('"x"', x)]
    return Object(members + ([] if y is None else [('"y"', y)]))


def _map(items: dict[str, str]) -> Node:
    return Object([(text(key), value) for key, value in items.items()])


_TEXT: SearchStrategy[Node] = _WORD.map(text)
_LONG: SearchStrategy[Node] = st.one_of(_SMALL_INT, st.integers(-(2**63), 2**63 - 1).map(str))
_BINARY: SearchStrategy[Node] = st.binary(max_size=60).map(
    lambda value: text(base64.b64encode(value).decode())
)

GOOD: Final[dict[str, SearchStrategy[Node]]] = {
    "double": _NUMBER,
    "float": st.one_of(_SHORT, _SMALL_INT, st.floats(width=32, allow_nan=False).map(json.dumps)),
    "long": _LONG,
    "integer": st.one_of(_SMALL_INT, st.integers(-(2**31), 2**31 - 1).map(str)),
    "boolean": st.sampled_from(["true", "false"]),
    "string": _TEXT,
    "datetime": _DATES.map(text),
    "binary": _BINARY,
    "mood": st.sampled_from(_MOODS).map(text),
    "tags": _array(_TEXT),
    "point": st.builds(_point, _INNER, st.none() | _LONG),
    "scores": st.dictionaries(st.sampled_from(["a", "b", "é"]), _SHORT, max_size=3).map(_map),
    "matrix": _array(_array(_INNER)),
    "points": _array(st.builds(_point, _INNER, st.none() | _LONG)),
    "pair": _array(_INNER, 2),
    "any": st.one_of(_NUMBER, _TEXT, st.sampled_from(["true", "null", "NaN"])),
}
"""By kind of column (see `models`): the values it is made for."""

_deep: Node = node([])
for _ in range(40):
    _deep = [_deep]

ODD_NODES: Final[SearchStrategy[Node]] = st.one_of(
    st.sampled_from(ODD), _NUMBER, st.sampled_from(ODD), _GREAT, st.just(_deep)
)
"""Any value, a good one for another column included."""

CSV_CELLS: Final[tuple[str, ...]] = (
    "", " ", "0", "1", "-1", "1.5", "1e3", "1e400", " 1", "1 ", "NA", "NaN", "nan", "null", "None",
    "inf", "-inf", "Infinity", "true", "True", "FALSE", "1,5", '"1"', '"a,b"', '"a\nb"', '"a""b"',
    '"', "'1'", "1_000", "0x10", "+1", ".5", "1.", "9007199254740993", "9223372036854775808",
    "18446744073709551616", "0.1", "0.30000000000000004", "2.2250738585072011e-308", "2024-02-29",
    "2024-02-29T12:30:00Z", "AQID", "é", "😀", MARKER, "\x00", "\t1", "#", "a b", "[1]", "{}",
)  # fmt: skip
"""Cells of a CSV body, as they are written."""
