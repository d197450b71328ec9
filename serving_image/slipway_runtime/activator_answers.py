"""What the activator says itself, in the words and the shape of a model server's errors."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# With this header an answer is final: else the gateway would ask again for what is 503, and have a
# request that waited in vain wait once more. Source: Envoy's documentation, "Router",
# x-envoy-ratelimited.
_FINAL: Final = (b"x-envoy-ratelimited", b"true")


class Refusal(Exception):  # noqa: N818  (an answer, not a fault)
    """A request that the activator answers itself.

    Args:
        status: of the answer.
        result: what it is counted as (see `activator_metrics.RESULTS`).
        message: one line; it must not hold anything taken from the request.
        retry_after: seconds after which to ask again, or None.
        final: whether the gateway may not ask another activator.
        close: whether the connection ends, for there is more of the body to come.
    """

    def __init__(
        self,
        status: int,
        result: str,
        message: str,
        retry_after: int | None = None,
        *,
        final: bool = False,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.result = result
        self.message = message
        self.headers: list[tuple[bytes, bytes]] = []
        if retry_after is not None:
            self.headers.append((b"retry-after", str(retry_after).encode()))
        if final:
            self.headers.append(_FINAL)
        if close:
            self.headers.append((b"connection", b"close"))

    @property
    def body(self) -> bytes:
        """The answer's body, JSON."""
        codes = {413: "PAYLOAD_TOO_LARGE", 400: "INVALID_PARAMETER_VALUE"}
        code = codes.get(self.status, "TEMPORARILY_UNAVAILABLE")
        return json.dumps({"error_code": code, "message": self.message}).encode()


async def plain(
    send: Send,
    status: int,
    content: bytes,
    content_type: bytes = b"application/json",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Sends a whole answer."""
    length = (b"content-length", str(len(content)).encode())
    head = [(b"content-type", content_type), length, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": content})
