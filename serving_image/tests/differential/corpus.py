"""Requests written by hand: what MLflow's documents promise, and what is easily got wrong."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from .models import Model
from .requests import CONTENT_TYPES, CSV, JSON, Request
from .values import MARKER

_PARQUET: Final = "application/vnd.apache.parquet"

_VALID: Final[dict[str, Any]] = {
    "double": 1.5,
    "float": -2.5,
    "long": 3,
    "integer": 4,
    "boolean": True,
    "string": "a",
    "datetime": "2024-02-29T12:30:00",
    "binary": "AQID",
    "mood": "fine",
    "tags": ["a", "b"],
    "point": {"x": 1.5, "y": 2},
    "scores": {"a": 1.5},
    "matrix": [[1.0, 2.0], [3.0]],
    "points": [{"x": 1.5}],
    "pair": [1.5, 2.5],
    "any": 7,
}

_BODIES: Final[tuple[bytes, ...]] = (
    b"", b" ", b"null", b"1", b'"a"', b"[]", b"[1]", b"true", b"NaN", b"{}", b"{", b"}", b"[", b'"',
    b"this is,,,, no json", b"{'a': 1}", b'{"a": 1}', b"\xff\xfe", b"\xef\xbb\xbf", b"\x00",
    b"\x80",
    b'{"inputs": "\xff"}', b'{"inputs": "\xed\xa0\x80"}', b'{"inputs": "\xc0\x80"}',
    b'{"dataframe_records": [], "dataframe_split": {"data": []}}',
    b'{"inputs": [], "instances": []}',
    b'{"dataframe_split": null}', b'{"dataframe_records": null}', b'{"inputs": null}',
    b'{"instances": null}', b'{"dataframe_split": []}', b'{"dataframe_split": [{"a": 1}]}',
    b'{"dataframe_split": {}}', b'{"dataframe_split": {"data": []}}', b'{"dataframe_split": 1}',
    b'{"dataframe_split": {"data": null}}', b'{"dataframe_split": {"columns": ["a"]}}',
    b'{"dataframe_split": {"data": [[1]], "columns": ["a"], "dtype": "float"}}',
    b'{"dataframe_split": {"index": [1, 2], "data": [[1], [2], [3]]}}',
    b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
    b'{"dataframe_split": {"columns": "a", "data": [[1]]}}',
    b'{"dataframe_split": {"columns": [["a", "b"]], "data": [[1]]}}',
    b'{"dataframe_split": {"columns": [["a"], ["b"]], "data": [[1, 2]]}}',
    b'{"dataframe_split": {"columns": [null], "data": [[1]]}}',
    b'{"dataframe_split": {"columns": [{}], "data": [[1]]}}',
    b'{"dataframe_split": {"columns": {"a": 1}, "data": [[1]]}}',
    b'{"dataframe_split": {"data": {"a": [1, 2], "b": [3]}}}', b'{"dataframe_split": {"data": 1}}',
    b'{"dataframe_split": {"data": "abc"}}', b'{"dataframe_split": {"data": [1, 2]}}',
    b'{"dataframe_split": {"data": [[1], [1, 2]]}}', b'{"dataframe_split": {"data": [[], []]}}',
    b'{"dataframe_records": {}}', b'{"dataframe_records": [[1, 2]]}', b'{"dataframe_records": [1]}',
    b'{"dataframe_records": [{}]}', b'{"dataframe_records": [null]}', b'{"dataframe_records": "a"}',
    b'{"dataframe_records": [{"a": 1}, [2]]}', b'{"dataframe_records": [{"a": 1}, {"b": 2}]}',
    b'{"inputs": []}', b'{"inputs": {}}', b'{"inputs": [[]]}', b'{"inputs": [{}]}',
    b'{"inputs": 1}',
    b'{"inputs": "a"}', b'{"inputs": [1, "a"]}', b'{"inputs": [{"a": 1}, 2]}',
    b'{"inputs": [2, {}]}',
    b'{"inputs": [[1, 2], [3]]}', b'{"inputs": {"a": [1, 2], "b": [3]}}', b'{"inputs": true}',
    b'{"inputs": "/etc/hostname"}', b'{"instances": []}', b'{"instances": {}}', b'{"instances": 1}',
    b'{"instances": [[1, 2], [3]]}', b'{"instances": [{"a": 1}, {"b": 2}]}',
    b'{"instances": [{"a": 1}, 2]}', b'{"instances": {"a": [1, 2], "b": [3]}}',
    b'{"instances": [[1]], "signature_name": "serving_default"}', b'{"input": "a"}',
    b'{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}',
    b'{"prompt": "a", "factor": 3}', b'{"input": ["a", "b"], "params": {"factor": 3}}',
    b'{"messages": null}', b'{"prompt": NaN}', b'{"input": [[1.5, 2, 3]]}', b'{"params": {}}',
    b'{"inputs": ' + b"[" * 100 + b"]" * 100 + b"}",
    b'{"inputs": ' + b"[" * 990 + b"]" * 990 + b"}",
    b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"inputs": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
    b'{"inputs": ' + b"9" * 4300 + b"}", b'{"inputs": ' + b"9" * 4301 + b"}",
)  # fmt: skip
"""Sent to every model."""

_CSVS: Final[tuple[bytes, ...]] = (
    b"", b"\n", b",", b"\xff", b"\xef\xbb\xbf", b"a", b"a\n", b"a\n1\n", b"a,a\n1,2\n", b"a\n1,2\n",
    b'"a\n1', b"a\n1\n\n\n2\n", b"\x00", b"a;b\n1;2\n", b"# a\n1\n", b"," * 100 + b"\n1\n",
)  # fmt: skip


def _bodies(model: Model) -> Iterator[dict[str, Any]]:
    """Yields valid bodies, then bodies valid but for one thing."""
    names = [column.name for column in model.columns]
    row = [_VALID[column.kind] for column in model.columns]
    record = dict(zip(names, row, strict=True))
    split = {"columns": names, "data": [row, row]}
    yield {"dataframe_split": split}
    yield {"dataframe_split": split | {"index": ["a", "b"]}}
    yield {"dataframe_split": split | {"index": [1, 1]}}
    yield {"dataframe_split": split | {"index": [1]}}
    yield {"dataframe_split": split | {"index": None}}
    yield {"dataframe_split": split | {"index": [[1, 2], [3, 4]]}}
    yield {"dataframe_split": {"data": [row]}}
    yield {"dataframe_split": {"columns": names, "data": [dict(record)]}}
    yield {"dataframe_split": {"columns": names, "data": {name: [1] for name in names}}}
    yield {"dataframe_split": {"columns": names, "data": []}}
    yield {"dataframe_split": {"columns": names, "data": [[]]}}
    yield {"dataframe_split": {"columns": names, "data": [row[:-1]]}}
    yield {"dataframe_split": {"columns": names, "data": [[*row, 1]]}}
    yield {"dataframe_split": {"columns": names, "data": [row, row[:-1]]}}
    yield {"dataframe_split": {"columns": names, "data": row}}
    yield {"dataframe_split": {"columns": names[::-1], "data": [row[::-1]]}}
    yield {"dataframe_split": {"columns": [*names, names[0]], "data": [[*row, row[0]]]}}
    yield {"dataframe_split": {"columns": [*names, MARKER], "data": [[*row, MARKER]]}}
    yield {"dataframe_split": {"columns": [*names, MARKER], "data": [[*row, [{}]]]}}
    yield {"dataframe_split": {"columns": list(range(len(names))), "data": [row]}}
    yield {"dataframe_split": split, "instances": [row]}
    yield {"dataframe_split": split, MARKER: 1}
    for extra in ("input", "messages", "prompt"):
        yield {"dataframe_split": split, extra: None}
    valid = {name: json.loads(value) for name, value in model.params.items()}
    trials: list[Any] = [None, {}, [], 1, "a", [MARKER], {MARKER: 1}, {"factor": MARKER}, valid]
    for params in trials:
        yield {"dataframe_split": split, "params": params}
    odd_ones: list[Any] = [None, 1, 1.5, True, "1", [], [1], {}, float("nan"), 2**70]
    for name, value in valid.items():
        for odd in [value, *odd_ones]:
            yield {"dataframe_split": split, "params": {name: odd}}
    for count in (0, 1, 2, 300):
        yield {"dataframe_records": [record] * count}
        yield {"instances": [record] * count}
        yield {"inputs": [record] * count}
        yield {"instances": [row] * count}
        yield {"inputs": [row] * count}
        yield {"inputs": {name: [value] * count for name, value in record.items()}}
        yield {"instances": {name: [value] * count for name, value in record.items()}}
    yield {"inputs": record}
    yield {"instances": record}
    yield {"inputs": row}
    yield {"instances": row}
    yield {"inputs": [[row]]}
    yield {"dataframe_records": [dict(reversed(record.items()))]}
    yield {"dataframe_records": [record, dict(reversed(record.items()))]}
    yield {"dataframe_records": [record | {MARKER: MARKER}, record]}
    for name in names[:3] + names[-2:]:
        less = {key: value for key, value in record.items() if key != name}
        yield {"dataframe_records": [less]}
        yield {"dataframe_records": [record, less]}
        yield {"dataframe_records": [less, record]}
        yield {"inputs": {key: [value] for key, value in less.items()}}
        yield {"instances": [record, less]}
        yield {"inputs": {key: [value] * (1 + (key == name)) for key, value in record.items()}}
        yield {"dataframe_records": [record | {name: None}]}
        yield {"dataframe_records": [record, record | {name: None}]}


def _csvs(model: Model) -> Iterator[bytes]:
    names = [column.name for column in model.columns]
    if any(set(name) & set('",\n') for name in names):
        return
    plain = [_VALID[column.kind] for column in model.columns]
    cells = [value if isinstance(value, str) else json.dumps(value) for value in plain]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    head, row = ",".join(names), ",".join(quoted)
    bodies = [
        f"{head}\n{row}\n",
        f"{head}\n{row}",
        f"{head}\r\n{row}\r\n{row}\r\n",
        f"\ufeff{head}\n{row}\n",
        f"{head}\n",
        f"{head}",
        f"{row}\n",
        f"\n\n{head}\n\n{row}\n\n",
        f"{head}\n{row},1\n",
        f"{head},{MARKER}\n{row},{MARKER}\n",
        f"{head}\n" + "," * (len(names) - 1) + "\n",
        f"{head}\n{row}\n" + "," * (len(names) - 1) + "\n",
        f"{head}\n{row}\n" + ",".join(quoted[:-1]) + "\n",
        f"{head}\n{row}\n{row},1\n",
        ",".join(reversed(names)) + "\n" + ",".join(reversed(quoted)) + "\n",
        ",".join(f'"{name}"' for name in names) + f"\n{row}\n",
        ", ".join(names) + f"\n{row}\n",
        f"{head}\n" + (row + "\n") * 300,
    ]
    yield from (body.encode() for body in bodies)


def _parquets(model: Model) -> Iterator[bytes]:
    """Yields tables in Parquet, for models of plain columns."""
    import pandas as pd

    row = {column.name: _VALID[column.kind] for column in model.columns}
    for table in (
        pd.DataFrame([row, row]),
        pd.DataFrame([row]).astype("string"),
        pd.DataFrame([row]).iloc[:0],
        pd.DataFrame([row]).iloc[:, :-1],
    ):
        output = io.BytesIO()
        table.to_parquet(output)
        yield output.getvalue()


def corpus(model: Model) -> list[Request]:
    """Returns the requests written by hand, for a model."""
    found = [Request(body) for body in _BODIES]
    found += [Request(json.dumps(body).encode()) for body in _bodies(model)]
    found += [Request(body, CSV) for body in (*_CSVS, *_csvs(model))]
    found += [Request(body, _PARQUET) for body in (b"", b"PAR1", MARKER.encode())]
    if model.name in ("lr", "typed"):
        found += [Request(body, _PARQUET) for body in _parquets(model)]
    valid = json.dumps(next(_bodies(model)), ensure_ascii=False)
    found += [Request(valid.encode(), content_type) for content_type in CONTENT_TYPES]
    change: list[Callable[[str], bytes]] = [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32-be"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("latin-1", "replace"),
        lambda text: text.encode()[:-1],
        lambda text: text.encode() + b"}",
        lambda text: text.encode() + b" \n\t\r",
        lambda text: text.encode() + b"\x00",
        lambda text: text.encode() + b"\xa0",
        lambda text: b" \n\t\r" + text.encode(),
        lambda text: b"\x0b" + text.encode(),
        lambda text: text.replace("}", ",}").encode(),
        lambda text: text.replace("]", ",]").encode(),
        lambda text: text.replace("dataframe", "d\\u0061taframe").encode(),
        lambda text: (text[:-1] + "," + text[1:]).encode(),
        lambda text: (text[:-1] + ', "dataframe_split": 1}').encode(),
        lambda text: ('{"dataframe_split": 1,' + text[1:]).encode(),
    ]
    return found + [Request(of(valid), JSON) for of in change]
