"""From the tensors of a request to what a model takes (see `v2`)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slipway_runtime.v2_data import from_base64, invalid, parse_json
from slipway_runtime.v2_request import InferRequest, Tensor
from slipway_runtime.v2_signature import JSON_TYPES, Spec, input_name, is_tensor

if TYPE_CHECKING:
    import pandas as pd

_NUMERIC: Final[Mapping[str, np.dtype[Any]]] = {
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "long": np.dtype(np.int64),
    "integer": np.dtype(np.int32),
}


def model_input(request: InferRequest, inputs: Sequence[Spec] | None) -> Any:
    """Returns what ``mlflow.pyfunc.PyFuncModel.predict`` takes for a request.

    A signature of columns gets a DataFrame, one of unnamed tensors an ndarray, one of named
    tensors a dict of them. Without a signature, one tensor is an ndarray, several of a column's
    shape are a DataFrame, and others a dict; the request's parameter ``content_type`` makes it
    ``pd``, a DataFrame, or ``np``, an ndarray of the first.

    Numbers get the signature's type where no value changes by it; what remains is for MLflow's own
    schema enforcement to take or to refuse.

    Args:
        request: the request.
        inputs: the signature's inputs (see `v2_signature`), or None.

    Raises:
        RequestError: the tensors cannot be the model's input (400). It names inputs by the words
            of the signature, or by their place in the request.
    """
    if not inputs:
        return _unsigned(request)
    if is_tensor(inputs):
        return _tensors(request, inputs)
    return _table(request.inputs, inputs)


def _unsigned(request: InferRequest) -> Any:
    wanted = request.parameters.get("content_type")
    tensors = request.inputs
    shaped = all(_is_column(tensor.shape) for tensor in tensors)
    if wanted == "np" or (len(tensors) == 1 and wanted != "pd"):
        return _owned(tensors[0].data)
    if not shaped:
        if wanted == "pd":
            raise invalid("Each input must have the shape [rows] or [rows, 1].")
        return {tensor.name: _owned(tensor.data) for tensor in tensors}
    columns = []
    for index, tensor in enumerate(tensors):
        kind = "datetime" if tensor.parameters.get("content_type") == "datetime" else ""
        field = f"inputs[{index}]"
        columns.append(_column(tensor.data.ravel(), tensor, kind, field))
    return _frame(columns, [tensor.name for tensor in tensors])


def _tensors(request: InferRequest, specs: Sequence[Spec]) -> Any:
    tensors = request.inputs
    if specs[0].get("name") is None:
        if len(tensors) != 1:
            raise invalid("inputs must be one tensor, by the model's signature.")
        return _as_spec(tensors[0], specs[0], "inputs[0]")
    by_name = {tensor.name: tensor for tensor in tensors}
    names = [str(spec["name"]) for spec in specs]
    return {
        name: _as_spec(by_name[name], spec, f"input {name}")
        for name, spec in zip(names, specs, strict=True)
        if name in by_name
    }


def _as_spec(tensor: Tensor, spec: Spec, field: str) -> npt.NDArray[Any]:
    """Returns a tensor with the dtype of the signature, where that changes no value."""
    wanted = np.dtype(spec["tensor-spec"]["dtype"])
    data = tensor.data
    if data.dtype.kind != "O":
        return data.astype(object) if wanted.kind == "O" else _owned(_widened(data, wanted))
    if wanted.kind in "biufc":
        raise invalid(f"{field} must be of numbers, by the model's signature.")
    if wanted.kind == "O":
        return data
    if wanted.kind in "US" and any(item is None for item in data.ravel()):
        raise invalid(f"{field} has an element that is null.")
    as_bytes = wanted.kind == "S"
    elements = [_bytes(item) if as_bytes else _text(item, field) for item in data.ravel()]
    try:
        return np.array(elements, wanted).reshape(tensor.shape)
    except (ValueError, TypeError) as error:
        raise invalid(f"{field} has an element that is not {wanted.name}.") from error


def _table(tensors: Sequence[Tensor], specs: Sequence[Spec]) -> "pd.DataFrame":
    """Returns the DataFrame of a signature of columns.

    One tensor [rows, columns] whose name is no column's holds all columns, in the signature's
    order; else each tensor is a column. Those the signature does not know are left out.
    """
    named = specs[0].get("name") is not None
    names = [str(spec["name"]) if named else input_name(index) for index, spec in enumerate(specs)]
    first = tensors[0]
    matched: list[tuple[Any, Tensor, npt.NDArray[Any], Spec]]
    if len(tensors) == 1 and len(first.shape) == 2 and first.name not in names:
        if first.shape[1] != len(specs):
            raise invalid(f"inputs[0] must have {len(specs)} columns, by the model's signature.")
        matched = [
            (names[index] if named else index, first, first.data[:, index], spec)
            for index, spec in enumerate(specs)
        ]
    else:
        by_name = {tensor.name: tensor for tensor in tensors}
        if not named and not by_name.keys() & set(names):
            # Without names in the signature, the place is what a column is known by.
            by_name = dict(zip(names, tensors, strict=False))
        matched = [
            (name if named else index, by_name[name], by_name[name].data, spec)
            for index, (name, spec) in enumerate(zip(names, specs, strict=True))
            if name in by_name
        ]
    columns = []
    for label, tensor, data, spec in matched:
        kind = str(spec.get("type"))
        field = f"input {label}" if named else f"inputs[{label}]"
        if kind in JSON_TYPES and data.dtype.kind != "O" and data.ndim > 1:
            columns.append(_objects(_rows(data, spec)))
            continue
        if not _is_column(data.shape):
            raise invalid(f"{field} must have the shape [rows] or [rows, 1].")
        columns.append(_column(data.ravel(), tensor, kind, field))
    return _frame(columns, [label for label, _, _, _ in matched])


def _column(data: npt.NDArray[Any], tensor: Tensor, kind: str, field: str) -> Any:
    """Returns the values of a column of a type of MLflow's, "" where there is no signature."""
    if kind in _NUMERIC or kind == "boolean":
        if data.dtype.kind == "O":
            raise invalid(f"{field} must not be BYTES: it is a column of {kind}.")
        return _widened(data, _NUMERIC[kind]) if kind in _NUMERIC else data
    if data.dtype.kind != "O":
        return data
    if kind == "binary":
        # A client that sends binary data sends the bytes themselves; JSON has only text for them.
        if "binary_data_size" in tensor.parameters:
            return _objects([_bytes(item) for item in data])
        if any(item is None for item in data):
            raise invalid(f"{field} has an element that is null.")
        return _objects(
            [item if type(item) is bytes else from_base64(item, field) for item in data]
        )
    if kind in JSON_TYPES:
        return _objects(
            [
                None if item is None else parse_json(_bytes(item), f"An element of {field}")
                for item in data
            ]
        )
    if kind == "":
        texts = list(data)
        return texts if all(type(item) is not bytes for item in texts) else _objects(texts)
    texts = [_text(item, field) for item in data]
    return _datetimes(texts, field) if kind == "datetime" else texts


def _rows(data: npt.NDArray[Any], spec: Spec) -> list[Any]:
    """Returns the elements of a column of arrays, each of them lists, as from JSON."""
    # A list would lose the types that MLflow takes only as they are.
    narrow = spec.get("items", {}).get("type") in ("float", "integer")
    return list(_owned(data)) if narrow else data.tolist()


def _datetimes(texts: list[str | None], field: str) -> Any:
    """Returns dates read the way MLflow reads them, in its resolution, the nanosecond."""
    import pandas as pd

    try:
        dates = pd.to_datetime(pd.Series(texts))
        return dates.dt.as_unit("ns") if len(texts) else dates.astype("datetime64[ns]")
    except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
        raise invalid(f"{field} has an element that is not a date.") from error


def _frame(columns: Sequence[Any], labels: Sequence[Any]) -> "pd.DataFrame":
    import pandas as pd

    if len({len(column) for column in columns}) > 1:
        raise invalid("All inputs must have the same number of rows.")
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.Index(labels)
    return frame


def _is_column(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _widened(data: npt.NDArray[Any], wanted: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns numbers with the dtype ``wanted``, or as they are where a value might change."""
    given = data.dtype
    if given == wanted or given.kind == "b" or wanted.kind not in "iuf":
        return data
    if given.kind == "f":
        fits = wanted.kind == "f" and wanted.itemsize > given.itemsize
    elif wanted.kind == "f":
        limit = 2 ** (np.finfo(wanted).nmant + 1)
        fits = not data.size or (int(data.min()) >= -limit and int(data.max()) <= limit)
    else:
        info = np.iinfo(wanted)
        fits = not data.size or (int(data.min()) >= info.min and int(data.max()) <= info.max)
    return data.astype(wanted) if fits else data


def _owned(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns an array a model may write to, aligned in memory."""
    return np.require(data, requirements=["C", "A", "W"])


def _objects(items: list[Any]) -> npt.NDArray[Any]:
    """Returns a column of objects that are not looked into."""
    column = np.empty(len(items), object)
    for index, item in enumerate(items):
        column[index] = item
    return column


def _text(item: str | bytes | None, field: str) -> str | None:
    if type(item) is not bytes:
        return item  # type: ignore[return-value]
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"{field} has an element that is not UTF-8.") from error


def _bytes(item: str | bytes) -> bytes:
    return item.encode() if isinstance(item, str) else item
