"""What the activator does with a request: hold it, hand it over, give up."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, Final

from slipway_runtime.activator_answers import Receive, Refusal, Scope, Send, plain
from slipway_runtime.activator_link import BrokenError, Link, Passed, RefusedError
from slipway_runtime.activator_metrics import ActivatorMetrics
from slipway_runtime.activator_settings import ActivatorSettings
from slipway_runtime.activator_wait import Waker

SERVER_HEADER: Final = b"x-slipway-server"

# How often a request is sent, if the server breaks off before it answers.
_TIMES: Final = 2
_LATER: Final = 5  # seconds, in Retry-After: a start is under way
_SOON: Final = 1
_SWALLOWED_TIMES_LIMIT: Final = 2


class Holder:
    """All requests that are held, and their bounds.

    Args:
        settings: which servers there are, and how much is held.
    """

    def __init__(self, settings: ActivatorSettings) -> None:
        self._settings = settings
        self.metrics = ActivatorMetrics(settings.servers.values())
        self._wakers = {
            name: Waker(server, self.metrics.of[name]) for name, server in settings.servers.items()
        }
        self._held = 0
        self._bytes = 0
        self._ending = asyncio.Event()

    def wanted(self, name: str) -> int | None:
        """How many requests wait for a server or are worked on by it; None for one not known."""
        waker = self._wakers.get(name)
        return None if waker is None else waker.waiting + waker.working

    def end(self) -> None:
        """Holds nothing from now on: what waits is answered."""
        self._ending.set()

    async def take(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        headers = dict(scope["headers"])
        said = headers.get(SERVER_HEADER) or headers.get(b"host", b"")
        waker = self._wakers.get(said.partition(b":")[0].partition(b".")[0].decode("latin-1"))
        if waker is None:
            # Not final: where a configuration is just being changed, another one may know.
            refusal = Refusal(503, "", "The request says no server that is known here.", _SOON)
            await plain(send, 503, refusal.body, headers=refusal.headers)
            return
        try:
            await self._pass(waker, scope, receive, send)
        except Refusal as refusal:
            waker.metrics.over(refusal.result)
            own = [
                (b"x-model-name", waker.server.model.encode()),
                (b"x-model-version", waker.server.version.encode()),
                *refusal.headers,
            ]
            await plain(send, refusal.status, refusal.body, headers=own)

    async def _pass(self, waker: Waker, scope: Scope, receive: Receive, send: Send) -> None:
        if self._held >= self._settings.held:
            raise Refusal(503, "refused", "Too many requests wait for a server.", _SOON)
        taken = _Taken(self)
        arrived = time.monotonic()
        try:
            passed = Passed(
                scope["method"].encode(),
                scope["raw_path"]
                + (b"?" + scope["query_string"] if scope["query_string"] else b""),
                scope["headers"],
                await self._read(waker, taken, receive),
            )
            hand_over = self._hand_over(waker, passed, taken, arrived, send)
            if not await _unless_gone(hand_over, receive):
                waker.metrics.over("gone")
        except _GoneError:
            waker.metrics.over("gone")
        finally:
            taken.release()

    async def _read(self, waker: Waker, taken: "_Taken", receive: Receive) -> bytes:
        """Returns the body; the server is wanted from its first byte on.

        A body that is refused is received to its end and thrown away, unless it is far too long: a
        client that does not read before it has written all would see a broken connection instead
        of the answer.
        """
        chunks: list[bytes] = []
        size, limit = 0, self._settings.max_bytes
        refusal: Refusal | None = None
        self._wait(waker, 1)
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        text = f"The body is longer than {limit} bytes."
                        far = size > limit * _SWALLOWED_TIMES_LIMIT
                        refusal = Refusal(413, "refused", text, close=far)
                    elif refusal is None:
                        taken.add(len(chunk))
                        chunks.append(chunk)
                        if self._bytes > self._settings.held_bytes:
                            text = "Requests that wait for a server hold too much."
                            refusal = Refusal(503, "refused", text, _SOON)
                    if refusal is not None:
                        taken.forget()
                        chunks.clear()
                    more = message.get("more_body", False)
                    if refusal is not None and (not more or size > limit * _SWALLOWED_TIMES_LIMIT):
                        raise refusal
                    if not more:
                        return b"".join(chunks)
        except TimeoutError:
            text = f"The body did not come within {self._settings.request_seconds} seconds."
            raise Refusal(408, "refused", text, close=True) from None
        finally:
            self._wait(waker, -1)

    async def _hand_over(
        self, waker: Waker, passed: Passed, taken: "_Taken", arrived: float, send: Send
    ) -> None:
        times = 0
        while True:
            link = await self._ready(waker, arrived)
            waker.working += 1
            try:
                async with asyncio.timeout(self._settings.request_seconds):
                    status, headers = await link.ask(passed)
                # The server has it: nothing of it is held here any more.
                passed.body = b""
                taken.release()
                waker.metrics.seconds.observe(time.monotonic() - arrived)
                start = {"type": "http.response.start", "status": status, "headers": headers}
                await send(start)
                async for piece in link.body():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                waker.metrics.over("answered")
                return
            except RefusedError:
                raise Refusal(400, "refused", "The request is not HTTP.") from None
            except (BrokenError, TimeoutError) as error:
                times += 1
                if taken.released:
                    # Half an answer has gone out. That the connection breaks says so.
                    waker.metrics.over("failed")
                    raise
                if isinstance(error, TimeoutError):
                    raise Refusal(504, "failed", "The server did not answer in time.") from None
                if times >= _TIMES:
                    text = "The server broke the connection off."
                    raise Refusal(502, "failed", text, _SOON) from None
            finally:
                waker.working -= 1
                link.close()

    async def _ready(self, waker: Waker, arrived: float) -> Link:
        left = waker.server.seconds - (time.monotonic() - arrived)
        self._wait(waker, 1)
        wanted = False
        found = asyncio.ensure_future(waker.link())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait(
                (found, ending), timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
            )
            if found.done():
                wanted = True
                return found.result()
            if self._ending.is_set():
                raise Refusal(503, "handed_over", "This activator ends.", _SOON, close=True)
            text = f"No server was ready within {waker.server.seconds:g} seconds; one is starting."
            raise Refusal(503, "expired", text, _LATER, final=True)
        finally:
            self._wait(waker, -1)
            ending.cancel()
            if not wanted:
                found.add_done_callback(_dropped)
                found.cancel()

    @staticmethod
    def _wait(waker: Waker, count: int) -> None:
        waker.waiting += count
        waker.metrics.waiting.set(waker.waiting)

    # What a request takes of the bounds

    def hold(self, requests: int, size: int) -> None:
        """Adds to what is held, or takes from it."""
        self._held += requests
        self._bytes += size


class _GoneError(Exception):
    """The client has gone."""


class _Taken:
    """What one request takes of the bounds, until it is released."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._size = 0
        self.released = False
        holder.hold(1, 0)

    def add(self, size: int) -> None:
        """Takes so many bytes more."""
        self._size += size
        self._holder.hold(0, size)

    def forget(self) -> None:
        """Gives the bytes back: they are thrown away."""
        self._holder.hold(0, -self._size)
        self._size = 0

    def release(self) -> None:
        """Gives all of it back, once."""
        if not self.released:
            self.released = True
            self._holder.hold(-1, -self._size)


async def _unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> bool:
    """Does the work; False if the client went first, and the work was dropped."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await working


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _dropped(found: "asyncio.Future[Link]") -> None:
    """Closes a connection that was found when nobody wanted it any more."""
    if not found.cancelled() and found.exception() is None:
        found.result().close()
