"""The short way from a request to an array, for models of numeric columns (see `v2`)."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from slipway_runtime.v2_request import InferRequest

_SMALL: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})
_HALF: Final = frozenset({"INT32", "UINT32"})
_TAKEN: Final[Mapping[str, frozenset[str]]] = {
    "double": _SMALL | _HALF | {"FP64", "FP32", "FP16", "INT64", "UINT64"},
    "float": _SMALL | {"FP32", "FP16"},
    "long": _SMALL | _HALF | {"INT64"},
    "integer": _SMALL | {"INT32"},
    "boolean": frozenset({"BOOL"}),
}
_EXACT: Final = 2.0**53


def matrix(
    request: InferRequest, names: Sequence[str], types: Sequence[str]
) -> npt.NDArray[np.float64] | None:
    """Returns a request to a model of numeric columns as one array, if that is plainly the same.

    Args:
        request: the request.
        names: the columns' names, in the signature's order.
        types: the columns' types, in MLflow's words: double, float, long, integer or boolean.

    Returns:
        An array of the shape (rows, columns), contiguous and writable, with columns in the order
        of ``names``; every value is exactly the one that was sent. None where a column is missing
        or there is one more, where a datatype is neither the column's own nor one that widens to
        it, where there is no row, or where a value is not finite or not below 2**53: then
        `v2_input.model_input` and MLflow decide.
    """
    inputs = request.inputs
    width = len(names)
    if len(inputs) == width and (width > 1 or inputs[0].name == names[0]):
        rows = inputs[0].data.size
        found = np.empty((rows, width))
        by_name = {tensor.name: tensor for tensor in inputs}
        for index, name in enumerate(names):
            tensor = by_name.get(name)
            if tensor is None or tensor.datatype not in _TAKEN.get(types[index], ()):
                return None
            shape = tensor.shape
            if shape != (rows,) and shape != (rows, 1):
                return None
            found[:, index] = tensor.data if len(shape) == 1 else tensor.data[:, 0]
    elif len(inputs) == 1:
        tensor = inputs[0]
        if len(tensor.shape) != 2 or tensor.shape[1] != width or tensor.name in names:
            return None
        if any(tensor.datatype not in _TAKEN.get(kind, ()) for kind in set(types)):
            return None
        found = np.array(tensor.data, np.float64, order="C")
    else:
        return None
    if not found.size or not (np.abs(found) < _EXACT).all():
        return None
    return found
