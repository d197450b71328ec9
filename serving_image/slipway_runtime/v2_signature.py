"""A model's signature in the words of the Open Inference Protocol (see `v2`).

A signature's side is the list that is parsed from ``signature.inputs`` or ``signature.outputs`` of
an ``MLmodel`` file, or None. Its items are columns, ``{"type": "double", "name": …, "required":
…}``, or tensors, ``{"type": "tensor", "name": …, "tensor-spec": {"dtype": …, "shape": …}}``; names
may be missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from slipway_runtime.v2_data import DTYPES

Spec = Mapping[str, Any]
"""One item of a signature's side."""

OUTPUT_NAME: Final = "predict"
"""The name of an output that has none of its own."""

JSON_TYPES: Final = frozenset({"array", "object", "map", "any", "sparkml vector"})
"""Types of columns whose elements travel as JSON texts, one a row."""

_DATATYPES: Final[Mapping[str, str]] = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
}
_CONTENT_TYPES: Final[Mapping[str, str]] = {"binary": "base64", "datetime": "datetime"}
_NUMPY_DATATYPES: Final = {
    dtype: datatype for datatype, dtype in DTYPES.items() if datatype != "BYTES"
}


def is_tensor(specs: Sequence[Spec]) -> bool:
    """Tells a signature of tensors from one of columns."""
    return bool(specs) and specs[0].get("type") == "tensor"


def input_name(index: int) -> str:
    """Returns what the input at ``index`` is called where the signature gives it no name."""
    return f"input-{index}"


def model_metadata(
    name: str,
    version: str,
    inputs: Sequence[Spec] | None,
    outputs: Sequence[Spec] | None,
    platform: str = "mlflow",
) -> dict[str, Any]:
    """Returns the answer of ``/v2/models/{name}``.

    A column has the shape [-1] and a tensor its own. What need not be sent has the parameter
    ``optional``. Columns that are not text but travel as BYTES have ``content_type``: ``base64``,
    ``datetime`` (ISO 8601) or ``json``.

    Args:
        name: the model's name.
        version: the one version that is served.
        inputs: the signature's inputs, or None where the model has no signature.
        outputs: the signature's outputs, or None.
        platform: the protocol's word for what runs the model.
    """
    return {
        "name": name,
        "versions": [version],
        "platform": platform,
        "inputs": [
            _tensor(spec, input_name(index), is_input=True)
            for index, spec in enumerate(inputs or ())
        ],
        "outputs": [
            _tensor(spec, OUTPUT_NAME if len(outputs or ()) == 1 else str(index), is_input=False)
            for index, spec in enumerate(outputs or ())
        ],
    }


def server_metadata(version: str) -> dict[str, Any]:
    """Returns the answer of ``/v2``; ``version`` is the server's own."""
    return {"name": "slipway", "version": version, "extensions": ["binary_tensor_data"]}


def _tensor(spec: Spec, default_name: str, is_input: bool) -> dict[str, Any]:
    """Describes one input or output."""
    kind = spec.get("type")
    content_type = None
    if kind == "tensor":
        info = spec["tensor-spec"]
        datatype = _NUMPY_DATATYPES.get(np.dtype(info["dtype"]), "BYTES")
        shape = list(info["shape"])
    else:
        datatype = _DATATYPES.get(str(kind), "BYTES")
        shape = [-1]
        content_type = "json" if kind in JSON_TYPES else _CONTENT_TYPES.get(str(kind))
    parameters: dict[str, Any] = {}
    if content_type is not None:
        parameters["content_type"] = content_type
    if is_input and spec.get("required") is False:
        parameters["optional"] = True
    tensor = {"name": spec.get("name") or default_name, "datatype": datatype, "shape": shape}
    return tensor | ({"parameters": parameters} if parameters else {})
