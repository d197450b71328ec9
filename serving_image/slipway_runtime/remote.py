"""A front worker's side of the line to its model process (see `wire` and `model_process`).

The line is kept up: a model process that ends is connected to again as soon as the server has
started another. Questions that were under way then are answered with an error, for a request that
ends the process once would do so again.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from slipway_runtime import wire
from slipway_runtime.errors import RequestError

_RETRY_SECONDS: Final = 0.02
_SLOW_RETRY_SECONDS: Final = 0.2
_SOON_SECONDS: Final = 2.0


class Remote:
    """Asks one model process.

    Args:
        path: the Unix socket it makes.
        queue: the most questions under way at a time.
        told: called with each event's meta data.

    Attributes:
        connected: whether the line is up.
    """

    def __init__(self, path: str, queue: int, told: Callable[[dict[str, Any]], None]) -> None:
        self._path = path
        self._queue = queue
        self._told = told
        self._numbers = itertools.cycle(range(1, 2**32))
        self._waiting: dict[int, asyncio.Future[wire.Frame]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._asking = 0

    @property
    def connected(self) -> bool:
        """Whether the line is up."""
        return self._up.is_set()

    async def keep(self) -> None:
        """Connects, reads answers, and connects again, for ever."""
        while True:
            reader, writer = await self._connect()
            self._writer = writer
            self._up.set()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    self._take(await wire.read(reader))
            self._up.clear()
            self._writer = None
            writer.close()
            self._told({"event": "lost"})
            for future in self._waiting.values():
                if not future.done():
                    message = "The model's process ended while it worked on this request."
                    error = RequestError(500, "INTERNAL_ERROR", message, "model_error")
                    future.set_exception(error)
            self._waiting.clear()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        started = time.monotonic()
        while True:
            try:
                return await asyncio.open_unix_connection(self._path)
            except OSError:
                soon = time.monotonic() - started < _SOON_SECONDS
                await asyncio.sleep(_RETRY_SECONDS if soon else _SLOW_RETRY_SECONDS)

    def _take(self, frame: wire.Frame) -> None:
        if frame.kind is wire.Kind.EVENT:
            self._told(frame.meta)
            return
        future = self._waiting.pop(frame.number, None)
        if future is None or future.done():
            return
        if frame.kind is wire.Kind.ERROR:
            future.set_exception(wire.error_of(frame.meta))
        else:
            future.set_result(frame)

    async def ask(self, kind: wire.Kind, meta: dict[str, Any], payload: bytes) -> wire.Frame:
        """Returns the answer to a question. Cancelled, it takes the question back.

        Args:
            kind: ``SCORE`` or ``INFER``.
            meta: its meta data.
            payload: the request's body.

        Raises:
            RequestError: what the model process says instead of an answer; or 503, because too
                many questions are under way.
        """
        if self._asking >= self._queue:
            message = "Too many requests are waiting."
            headers = {"retry-after": "1"}
            raise RequestError(503, "RESOURCE_EXHAUSTED", message, "overloaded", headers=headers)
        self._asking += 1
        number = next(self._numbers)
        try:
            while (writer := self._writer) is None:
                await self._up.wait()
            future: asyncio.Future[wire.Frame] = asyncio.get_running_loop().create_future()
            self._waiting[number] = future
            writer.write(wire.Frame(kind, number, meta, payload).encode())
            await writer.drain()
            return await future
        except ConnectionError:
            # The line broke before the question was over it; `keep` has answered it.
            return await future
        except asyncio.CancelledError:
            if self._writer is not None and number in self._waiting:
                self._writer.write(wire.Frame(wire.Kind.CANCEL, number, {}).encode())
            raise
        finally:
            self._asking -= 1
            self._waiting.pop(number, None)
