"""Requests, generated: valid for one model, then changed in a few places.

Most of them are nearly valid. That is where a server that takes a short cut takes a wrong one.
"""

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from .documents import ACTS, Mutation, Node, Object, mutate, render, text
from .models import Column, Model
from .values import BROKEN, CSV_CELLS, GOOD, KEYS, MARKER, ODD, ODD_NODES

JSON: Final = "application/json"
CSV: Final = "text/csv"
MANY: Final = 300


@dataclass(frozen=True)
class Request:
    """A POST to ``/invocations``.

    Attributes:
        body: its body.
        content_type: its Content-Type header; None where it has none.
    """

    body: bytes
    content_type: str | None = JSON

    def __repr__(self) -> str:
        shown = repr(self.body[:1500]) + (f"... {len(self.body)} bytes" * (len(self.body) > 1500))
        return f"{self.content_type}: {shown}"


CONTENT_TYPES: Final[tuple[str | None, ...]] = (
    None, "", JSON.upper(), f"{JSON}; charset=utf-8", f"{JSON};charset=UTF-8",
    f"{JSON} ; charset=utf-8", f" {JSON} ", f"{JSON};", f"{JSON}; ;", f'{JSON}; charset="utf-8"',
    f"{JSON}; charset=utf8",
    f"{JSON}; charset=latin-1", f"{JSON}; charset", f"{JSON}; CHARSET=utf-8", f"{JSON}; format=a",
    f"{JSON}; charset=utf-8; charset=ascii", f"{JSON}; charset=ascii; charset=utf-8",
    f"{JSON}; charset = utf-8", f"{JSON}; charset=", f"{JSON}, {JSON}", "text/json", "*/*",
    "application/x-www-form-urlencoded", CSV, f"{CSV}; charset=utf-8", f"{CSV}; header=present",
    "Text/CSV", "application/vnd.apache.parquet", f"text/{MARKER}", f"{JSON}; {MARKER}=1", "\xe9",
)  # fmt: skip

_WAYS: Final = (
    "split", "split", "split", "records", "records", "inputs by column", "inputs of records",
    "split", "records", "inputs by column", "instances of records", "inputs of records",
    "inputs of rows", "instances of rows", "split with index", "split without columns",
    "instances by column", "inputs of one row", "split of columns",
)  # fmt: skip

_ROWS: Final = ("split", "inputs of rows", "instances of rows", "split without columns")

Row = list[Node]
Table = tuple[list[str], list[Row]]


@st.composite
def _tables(draw: DrawFn, model: Model) -> Table:
    """Draws columns and rows: mostly the model's own, sometimes others, more, fewer, twice."""
    count = draw(st.sampled_from([1, 1, 1, 2, 3, 0, MANY]))
    drawn = min(count, 3)
    own = [[draw(GOOD[column.kind]) for column in model.columns] for _ in range(drawn)]
    rows = [list(own[number % drawn]) for number in range(count)] if drawn else []
    names = [column.name for column in model.columns]
    change = draw(
        st.sampled_from(
            ["none"] * 9 + ["order", "order", "more", "more", "fewer", "twice", "rename"]
        )
    )
    at = draw(st.integers(0, len(names) - 1)) if change not in ("none", "order") else 0
    if change == "order":
        order = draw(st.permutations(range(len(names))))
        names = [names[place] for place in order]
        rows = [[row[place] for place in order] for row in rows]
    elif change == "more":
        names.insert(at, draw(st.sampled_from(["extra", MARKER, "é", "0", "input"])))
        value = draw(ODD_NODES)
        rows = [[*row[:at], value, *row[at:]] for row in rows]
    elif change == "fewer":
        del names[at]
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    elif change == "twice":
        names.append(names[at])
        rows = [[*row, row[at]] for row in rows]
    elif change == "rename":
        names[at] = draw(st.sampled_from(["extra", MARKER, names[at].upper(), f" {names[at]}"]))
    return names, rows


def _object(names: list[str], values: Row) -> Node:
    return Object([(text(name), value) for name, value in zip(names, values, strict=True)])


def _lay_out(way: str, names: list[str], rows: list[Row]) -> Object:
    """Returns a body that holds a table in one of the protocol's ways."""
    columns: Node = [text(name) for name in names]
    data: Node = [list(row) for row in rows]
    records: Node = [_object(names, row) for row in rows]
    sides: Row = [[row[place] for row in rows] for place in range(len(names))]
    split: list[tuple[str, Node]] = [('"columns"', columns), ('"data"', data)]
    if way == "split":
        return Object([('"dataframe_split"', Object(split))])
    if way == "split with index":
        index: list[Node] = [str(7 * number) for number in range(len(rows))]
        return Object([('"dataframe_split"', Object([('"index"', index), *split]))])
    if way == "split without columns":
        return Object([('"dataframe_split"', Object([('"data"', data)]))])
    if way == "split of columns":
        by_name = Object([('"data"', _object(names, sides))])
        return Object([('"dataframe_split"', by_name)])
    if way == "records":
        return Object([('"dataframe_records"', records)])
    if way == "inputs of one row":
        first: Node = _object(names, rows[0]) if rows else Object([])
        return Object([('"inputs"', first)])
    key, kind = ('"inputs"' if way.startswith("inputs") else '"instances"'), way.split()[-1]
    held = {"records": records, "rows": data, "column": _object(names, sides)}[kind]
    return Object([(key, held)])


def _mutations() -> SearchStrategy[list[Mutation]]:
    keys = st.sampled_from(KEYS)
    values = st.one_of(ODD_NODES, ODD_NODES, ODD_NODES, st.sampled_from(BROKEN))
    one = st.builds(
        Mutation, st.integers(0, 6), st.integers(0, 400), st.sampled_from(ACTS), values, keys
    )
    # A value in a cell, the change that most often leaves a request valid.
    cell = st.builds(Mutation, st.just(4), st.integers(0, 400), st.just("replace"), ODD_NODES, keys)
    return st.one_of(
        st.just([]),
        st.just([]),
        st.lists(cell, min_size=1, max_size=2),
        st.lists(one, min_size=1, max_size=1),
        st.lists(one, min_size=1, max_size=3),
    )


@st.composite
def _params(draw: DrawFn, model: Model) -> list[tuple[str, Node]]:
    if not draw(st.sampled_from([True, False] if model.params else [False] * 5 + [True])):
        return []
    if draw(st.sampled_from([False] * 4 + [True])):
        return [('"params"', draw(ODD_NODES))]
    chosen = draw(st.lists(st.sampled_from([*model.params, "factor", MARKER]), max_size=3))
    odd = draw(st.booleans())
    known = [(name, model.params.get(name, "1")) for name in chosen]
    values = [(text(name), draw(ODD_NODES) if odd else value) for name, value in known]
    return [('"params"', Object(values))]


_ENDS: Final = ("", "\n", " \r\n\t", ",", "}", "x", "\x00", "{}", " 1", "\ufeff", "\x0b", "//")


@st.composite
def _plain(draw: DrawFn, model: Model) -> bytes:
    """Draws what a well-meaning client sends, one odd value at most."""
    count = draw(st.sampled_from([1, 1, 1, 2, 3, MANY]))
    own = [[draw(GOOD[column.kind]) for column in model.columns] for _ in range(min(count, 3))]
    rows = [list(own[number % len(own)]) for number in range(count)]
    if draw(st.sampled_from([False, False, True])):
        rows[-1][draw(st.integers(0, len(rows[-1]) - 1))] = draw(ODD_NODES)
    ways = _WAYS[:8] if model.named else _ROWS
    body = _lay_out(draw(st.sampled_from(ways)), [column.name for column in model.columns], rows)
    spaces = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r ")]))
    return render(body, *spaces).encode("utf-8", "surrogatepass")


@st.composite
def _json(draw: DrawFn, model: Model) -> bytes:
    names, rows = draw(_tables(model))
    ways = _WAYS if model.named else _ROWS * 4 + _WAYS
    body = _lay_out(draw(st.sampled_from(ways)), names, rows)
    body.pairs += draw(_params(model))
    if draw(st.sampled_from([False] * 9 + [True])):
        place = draw(st.integers(0, len(body.pairs)))
        body.pairs.insert(place, (draw(st.sampled_from(KEYS)), draw(ODD_NODES)))
    tree = mutate(body, draw(_mutations()))
    spaces = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r ")]))
    written = render(tree, *spaces)
    change = draw(st.sampled_from(["none"] * 30 + ["cut", "end", "start", "UTF-16", "UTF-32"]))
    if change == "cut":
        written = written[: draw(st.integers(0, len(written)))]
    elif change == "end":
        written += draw(st.sampled_from(_ENDS))
    elif change == "start":
        written = draw(st.sampled_from(_ENDS)) + written
    elif change != "none":
        codec = draw(st.sampled_from([change, f"{change}-LE", f"{change}-BE"]))
        return written.encode(codec, "surrogatepass")
    return written.encode("utf-8", "surrogatepass")


def _cell(column: Column, value: Node) -> str:
    """Returns a value as CSV writes it."""
    written = render(value)
    if written.startswith('"') or column.kind in GOOD.keys() - {"double", "long", "any"}:
        plain = written.strip('"')
        return '"' + plain.replace('"', '""') + '"' if set(plain) & set(',"\n') else plain
    return written


@st.composite
def _csv(draw: DrawFn, model: Model) -> bytes:
    count = draw(st.sampled_from([1, 1, 2, 3, 0]))
    head = [column.name for column in model.columns]
    lines = [
        [_cell(column, draw(GOOD[column.kind])) for column in model.columns] for _ in range(count)
    ]
    order = draw(st.permutations(range(len(head)))) if draw(st.booleans()) else range(len(head))
    table = [[line[place] for place in order] for line in [head, *lines]]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        line = table[draw(st.integers(0, len(table) - 1))]
        at = draw(st.integers(0, len(line)))
        act = draw(st.sampled_from(["replace"] * 5 + ["insert", "delete", "repeat"]))
        cell = draw(st.sampled_from(CSV_CELLS))
        if act == "insert" or at == len(line):
            line.insert(at, cell)
        elif act == "delete":
            del line[at]
        else:
            line[at] = line[0] if act == "repeat" else cell
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"]))
    comma = draw(st.sampled_from([","] * 8 + [", ", ";"]))
    written = end.join(comma.join(line) for line in table)
    start, last = draw(st.sampled_from([("", end)] * 5 + [("\ufeff", ""), ("\n", end), ("#", "")]))
    codec = draw(st.sampled_from(["utf-8"] * 12 + ["utf-16", "latin-1"]))
    return (start + written + last).encode(codec, "replace")


@st.composite
def requests(draw: DrawFn, model: Model) -> Request:
    """Draws a request to ``model``."""
    kind = draw(st.sampled_from(["plain"] * 6 + ["json"] * 8 + ["csv", "csv", "content type"]))
    if kind == "csv":
        return Request(draw(_csv(model)), CSV)
    body = draw(_plain(model) if kind == "plain" else _json(model))
    if kind != "content type":
        return Request(body)
    return Request(body, draw(st.sampled_from(CONTENT_TYPES)))


def single_cells(model: Model) -> list[Request]:
    """Returns one request for each odd value: all columns valid but the first, which has it."""
    fill = {"boolean": "true", "string": '"a"', "datetime": '"2024-02-29"', "binary": '"AQID"'}
    names = [column.name for column in model.columns]
    others: Row = [fill.get(column.kind, "1.5") for column in model.columns[1:]]
    ways = ("split", "records", "inputs by column", "inputs of rows")
    return [
        Request(
            render(_lay_out(ways[number % len(ways)], names, [[value, *others]])).encode(
                "utf-8", "surrogatepass"
            )
        )
        for number, value in enumerate((*ODD, *BROKEN))
    ]
