"""A connection to a model server: asked first whether the server is ready, then for an answer.

The address is that of a Service, so each connection may reach another pod, ready or not. That the
question and the request go over the same connection makes sure that the pod that takes the request
is one that said yes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import h11

_CONNECT_SECONDS: Final = 1.0
_READY_SECONDS: Final = 2.0
_PIECE: Final = 2**16
_OK: Final = 200

# About one connection alone (RFC 9110, 7.6.1), or said anew for the next one.
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

Headers = Sequence[tuple[bytes, bytes]]


class BrokenError(Exception):
    """The server broke the connection off, or what it said is no HTTP."""


class RefusedError(Exception):
    """The request cannot be sent: it is no HTTP."""


@dataclass
class Passed:
    """A request as it is passed on. ``target`` is the path with the query, as it came; ``body`` is
    emptied once a server has answered.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes


class Link:
    """A connection to a server that is ready.

    Attributes:
        begun: whether any of the request has been sent.
    """

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host = host.encode()
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self.begun = False

    @classmethod
    async def to_ready(cls, host: str, port: int) -> Self | None:
        """Returns a connection to a server that says it is ready; None if there is none."""
        link = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(host, port)
            link = cls(host, reader, writer)
            async with asyncio.timeout(_READY_SECONDS):
                ready = await link._is_ready()
        except (OSError, TimeoutError, BrokenError):
            ready = False
        except BaseException:
            if link is not None:
                link.close()
            raise
        if ready:
            return link
        if link is not None:
            link.close()
        return None

    async def _is_ready(self) -> bool:
        headers = [(b"host", self._host), (b"content-length", b"0")]
        await self._send(h11.Request(method=b"GET", target=b"/health/ready", headers=headers))
        await self._send(h11.EndOfMessage())
        status = (await self._response()).status_code
        async for _ in self.body():
            pass
        if status != _OK or self._http.our_state is not h11.DONE:
            return False
        try:
            self._http.start_next_cycle()
        except h11.ProtocolError:
            return False
        return True

    async def ask(self, passed: Passed) -> tuple[int, Headers]:
        """Sends the request; returns the status and the headers of the answer.

        Raises:
            RefusedError: it is no HTTP, and nothing was sent.
            BrokenError: there is no answer.
        """
        headers = [(k, v) for k, v in passed.headers if k.lower() not in HOP_BY_HOP]
        if passed.body and not any(k.lower() == b"content-length" for k, _ in headers):
            headers.append((b"content-length", str(len(passed.body)).encode()))
        try:
            head = h11.Request(method=passed.method, target=passed.target, headers=headers)
        except h11.LocalProtocolError:
            raise RefusedError from None
        self.begun = True
        await self._send(head)
        if passed.body:
            await self._send(h11.Data(data=passed.body))
        await self._send(h11.EndOfMessage())
        answer = await self._response()
        kept = [(k, v) for k, v in answer.headers.raw_items() if k.lower() not in HOP_BY_HOP]
        return answer.status_code, kept

    async def body(self) -> AsyncIterator[bytes]:
        """Yields the answer's body as it comes.

        Raises:
            BrokenError: it ends before its end.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.ConnectionClosed):
                raise BrokenError

    def close(self) -> None:
        """Closes it, whatever state it is in."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()

    async def _send(self, event: h11.Event) -> None:
        try:
            if data := self._http.send(event):
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, h11.LocalProtocolError):
            raise BrokenError from None

    async def _response(self) -> h11.Response:
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise BrokenError

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_PIECE))
        except (OSError, h11.RemoteProtocolError):
            raise BrokenError from None
        return event
