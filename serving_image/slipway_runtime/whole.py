"""Answers that leave in one piece.

uvicorn writes an answer's head, then its body, and uvloop hands each to the kernel at once. Who
reads the head first, as a gateway does, has promised an answer by then: it can ask nobody else if
the server dies before the body. In one piece there is no such moment, and one system call less.
"""

import asyncio
from typing import Any


class WholeWrites:
    """A transport that keeps every other write until the next, or the event loop's next turn.

    Args:
        transport: where the bytes go.
        loop: the event loop that it belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""

    def write(self, data: bytes) -> None:
        """Sends the bytes, with those that were kept; or keeps them, where there are none."""
        if self._kept:
            data, self._kept = self._kept + data, b""
            self._transport.write(data)
        elif data:
            self._kept = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Sends what is kept."""
        if self._kept:
            data, self._kept = self._kept, b""
            self._transport.write(data)

    def close(self) -> None:
        """Sends what is kept and closes the transport."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
