"""Requests of the Open Inference Protocol: a body to tensors (see `v2`)."""

from typing import Any, Final, NamedTuple

import numpy.typing as npt

from slipway_runtime.v2_data import (
    DTYPES,
    count_of,
    from_base64,
    from_binary,
    from_json,
    invalid,
    parse_json,
)

_RESERVED: Final = frozenset(
    {
        "binary_data_output",
        "content_type",
        "headers",
        "priority",
        "sequence_end",
        "sequence_id",
        "sequence_start",
        "timeout",
    }
)
_RESERVED_PREFIX: Final = "triton_"


class Tensor(NamedTuple):
    """One input.

    Attributes:
        name: its name, the client's own word.
        datatype: a key of `v2_data.DTYPES`.
        shape: its extents, each at least 0.
        data: its elements, in an array of that shape, which may be read-only and unaligned. BYTES
            are an object array of str; of bytes where an element is not UTF-8 or the parameter
            ``content_type`` is ``base64``; of None where JSON says null.
        parameters: its parameters. ``binary_data_size`` is there if the data came as binary.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: npt.NDArray[Any]
    parameters: dict[str, Any]


class RequestedOutput(NamedTuple):
    """An output the client asks for.

    Attributes:
        name: its name, the client's own word.
        binary: whether it is wanted as binary data; None leaves it to the request.
    """

    name: str
    binary: bool | None


class InferRequest(NamedTuple):
    """A request for inference.

    Attributes:
        id: what the answer must repeat, or None.
        inputs: the inputs, at least one, no two of one name.
        outputs: the outputs asked for; all of them where it is empty.
        parameters: the request's parameters, the reserved ones among them.
        binary_output: whether outputs are wanted as binary data where they do not say themselves.
    """

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...]
    parameters: dict[str, Any]
    binary_output: bool


def decode(body: bytes, header_length: int | None) -> InferRequest:
    """Returns the request in ``body``.

    Args:
        body: the whole body: a JSON object, then the binary data of its inputs, in their order.
        header_length: bytes of the JSON object, the value of the HTTP header
            ``Inference-Header-Content-Length``; None where there is no such header, and then the
            object is the whole body.

    Raises:
        RequestError: it is not a request of the protocol (400). The message names the field and
            repeats nothing of its value.
    """
    end = len(body) if header_length is None else header_length
    if not 0 < end <= len(body):
        raise invalid("Inference-Header-Content-Length is not the length of a JSON object.")
    document = parse_json(body if end == len(body) else body[:end], "The body")
    if type(document) is not dict:
        raise invalid("The body must be a JSON object with inputs.")
    given = document.get("inputs")
    if type(given) is not list or not given:
        raise invalid("inputs must be a list of at least one tensor.")
    identifier = document.get("id")
    if identifier is not None and type(identifier) is not str:
        raise invalid("id must be a string.")
    parameters = _parameters(document)
    binary_output = _flag(parameters, "binary_data_output")
    inputs: list[Tensor] = []
    for index, item in enumerate(given):
        tensor, end = _tensor(item, f"inputs[{index}]", body, end, header_length is not None)
        inputs.append(tensor)
    if end != len(body):
        raise invalid("The body is longer than its JSON object and the binary data of its inputs.")
    if len({tensor.name for tensor in inputs}) != len(inputs):
        raise invalid("inputs has two tensors of one name.")
    outputs = _requested(document.get("outputs"))
    return InferRequest(identifier, tuple(inputs), outputs, parameters, bool(binary_output))


def params(request: InferRequest) -> dict[str, Any] | None:
    """Returns the model's params: the request's parameters but those the protocol reserves.

    Returns:
        None where there are none, as MLflow has it.
    """
    found = {
        name: value
        for name, value in request.parameters.items()
        if name not in _RESERVED and not name.startswith(_RESERVED_PREFIX)
    }
    return found or None


def _tensor(item: Any, field: str, body: bytes, start: int, has_binary: bool) -> tuple[Tensor, int]:
    """Returns an input, and where the binary data of the next one starts in ``body``."""
    if type(item) is not dict:
        raise invalid(f"{field} must be an object.")
    name = item.get("name")
    if type(name) is not str or not name:
        raise invalid(f"{field}.name must be a string that is not empty.")
    datatype: Any = item.get("datatype")
    dtype = DTYPES.get(datatype) if type(datatype) is str else None
    if dtype is None:
        raise invalid(f"{field}.datatype must be one of {', '.join(DTYPES)}.")
    shape: Any = item.get("shape")
    count = count_of(shape, field)
    parameters = _parameters(item, field)
    size = None
    if parameters:
        if "shared_memory_region" in parameters:
            raise invalid(f"{field}.parameters: shared memory is not supported.")
        size = parameters.get("binary_data_size")
    if size is None:
        flat = from_json(item.get("data"), shape, count, dtype, field)
    else:
        if type(size) is not int or not 0 <= size <= len(body) - start:
            hint = "" if has_binary else " Inference-Header-Content-Length is missing."
            raise invalid(
                f"{field}.parameters.binary_data_size must be a number of bytes that follow "
                f"the JSON object.{hint}"
            )
        if item.get("data") is not None:
            raise invalid(f"{field} must have data or binary_data_size, not both.")
        flat = from_binary(body, start, size, count, dtype, field)
        start += size
    if dtype.kind == "O" and parameters.get("content_type") == "base64":
        for index, element in enumerate(flat):
            if element is not None:
                flat[index] = from_base64(element, f"{field}.data")
    data = flat if len(shape) == 1 else flat.reshape(shape)
    return Tensor(name, datatype, tuple(shape), data, parameters), start


def _requested(given: Any) -> tuple[RequestedOutput, ...]:
    """Returns the outputs asked for."""
    if not given and (given is None or type(given) is list):
        return ()
    if type(given) is not list:
        raise invalid("outputs must be a list.")
    outputs = []
    for index, item in enumerate(given):
        field = f"outputs[{index}]"
        if type(item) is not dict:
            raise invalid(f"{field} must be an object.")
        name = item.get("name")
        if type(name) is not str or not name:
            raise invalid(f"{field}.name must be a string that is not empty.")
        parameters = _parameters(item, field)
        if "shared_memory_region" in parameters:
            raise invalid(f"{field}.parameters: shared memory is not supported.")
        if parameters.get("classification"):
            raise invalid(f"{field}.parameters: the classification extension is not supported.")
        binary = _flag(parameters, "binary_data", field)
        outputs.append(RequestedOutput(name, binary))
    if len({output.name for output in outputs}) != len(outputs):
        raise invalid("outputs has one name twice.")
    return tuple(outputs)


def _parameters(item: dict[str, Any], field: str = "") -> dict[str, Any]:
    """Returns the parameters of an object, none where it has none."""
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise invalid(f"{field}.parameters must be an object.".lstrip("."))
    return parameters


def _flag(parameters: dict[str, Any], name: str, field: str = "") -> bool | None:
    """Returns a parameter that is true or false, or None where it is not given."""
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise invalid(f"{field}.parameters.{name} must be true or false.".lstrip("."))
    return value
