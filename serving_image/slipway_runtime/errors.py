"""Errors that a client sees: a status, a code, a message, and the label they are counted under.

No message holds anything of the request, and none holds a stack trace: an answer may end up in the
logs of every proxy between the client and the model.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

ErrorType = Literal[
    "unsupported_media_type",
    "payload_too_large",
    "invalid_input",
    "schema_mismatch",
    "model_error",
    "timeout",
    "not_ready",
    "overloaded",
    "internal",
]
"""What a failed prediction is counted as in ``model_prediction_errors_total{error_type}``.

The first four are the client's doing; the others are the server's or the model's.
"""

ERROR_TYPES: Final[tuple[ErrorType, ...]] = get_args(ErrorType)

SERVER_FAULTS: Final[frozenset[ErrorType]] = frozenset({"model_error", "timeout", "internal"})
"""Those that are logged one by one, with a trace where there is one."""


class RequestError(Exception):
    """A prediction request that cannot be answered with a prediction.

    Attributes:
        status: HTTP status of the answer, the one MLflow's scoring server gives (see `protocol`).
        code: ``error_code`` of the body, from MLflow's vocabulary where it has a word for it.
        message: ``message`` of the body. It must not hold anything taken from the request.
        error_type: the label it is counted under.
        headers: additional headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        error_type: ErrorType,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.error_type: ErrorType = error_type
        self.headers: dict[str, str] = dict(headers or {})
