"""The Open Inference Protocol, version 2, over REST: from bytes to tensors and back.

Sources: the protocol's REST specification (kserve/open-inference-protocol, ``inference_rest.md``)
and the extension for binary tensor data (triton-inference-server/server,
``extension_binary_data.md``). How a model's signature meets the protocol is this project's own,
and is told in ``docs/inference-protocol.md``.

===================  ===============================================================================
`decode`             a request's body to an `InferRequest`
`matrix`             an `InferRequest` to one array, where that is plainly possible
`model_input`        an `InferRequest` to what a pyfunc model's ``predict`` takes
`params`             an `InferRequest` to the model's params
`outputs_of`         a prediction to named arrays
`encode`             named arrays to an answer's body
`model_metadata`     a signature to the answer of ``/v2/models/{name}``
`server_metadata`    the answer of ``/v2``
===================  ===============================================================================

All are pure functions without a state, safe to call from many threads. Importing this imports
neither MLflow nor pandas; `model_input` and `outputs_of` import pandas when they are called.
"""

from slipway_runtime.v2_input import model_input
from slipway_runtime.v2_matrix import matrix
from slipway_runtime.v2_outputs import outputs_of
from slipway_runtime.v2_request import InferRequest, RequestedOutput, Tensor, decode, params
from slipway_runtime.v2_response import encode
from slipway_runtime.v2_signature import model_metadata, server_metadata

__all__ = [
    "InferRequest",
    "RequestedOutput",
    "Tensor",
    "decode",
    "encode",
    "matrix",
    "model_input",
    "model_metadata",
    "outputs_of",
    "params",
    "server_metadata",
]
