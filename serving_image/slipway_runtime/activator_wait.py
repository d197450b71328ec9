"""Waiting for a server until it is ready."""

import asyncio
from typing import Final

from slipway_runtime.activator_link import Link
from slipway_runtime.activator_metrics import ServerMetrics
from slipway_runtime.activator_settings import Sleeper

# Between two questions whether a server is ready, while somebody waits for it.
_PAUSE: Final = 0.1


class Waker:
    """A server that is waited for. One question at a time is asked for all who wait.

    Args:
        server: which one.
        metrics: what is counted of it.
    """

    def __init__(self, server: Sleeper, metrics: ServerMetrics) -> None:
        self.server = server
        self.metrics = metrics
        self.waiting = 0
        self.working = 0
        self._ready = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    async def link(self) -> Link:
        """Returns a connection to a ready server, as soon as there is one."""
        while True:
            link = await Link.to_ready(self.server.host, self.server.port)
            if link is not None:
                return link
            if self._asking is None or self._asking.done():
                self._ready = asyncio.Event()
                self._asking = asyncio.create_task(self._ask(self._ready))
            await self._ready.wait()

    async def _ask(self, ready: asyncio.Event) -> None:
        while self.waiting:
            await asyncio.sleep(_PAUSE)
            link = await Link.to_ready(self.server.host, self.server.port)
            if link is not None:
                link.close()
                break
        ready.set()
