"""The short cut of `hot`, with a span for each sampled request that it answers.

It is used only where tracing is on. Of a request that is not sampled one header is read; a sampled
one is answered the same way, and its spans are made once the answer is on its way.
"""

import time
from typing import Any, ClassVar

from slipway_runtime.app import ModelServer
from slipway_runtime.compiled import Array
from slipway_runtime.extract import Matrix
from slipway_runtime.hot import Batch, HotProtocol
from slipway_runtime.trace_context import Parent, Step, parent_in
from slipway_runtime.tracing import Tracer


class TracedProtocol(HotProtocol):
    """One connection. Use `traced_for` to get the class for a server."""

    tracer: ClassVar[Tracer]
    batch: ClassVar["TracedBatch"]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._parent: Parent | None = None
        self._came = self._parsed = self._rows = 0

    @classmethod
    def traced_for(cls, server: ModelServer, tracer: Tracer) -> type[HotProtocol]:
        """Returns the protocol for connections to ``server``."""
        found = cls.for_server(server)
        own = {"tracer": tracer, "batch": TracedBatch(server)}
        return type("TracedServerProtocol", (found,), own)

    def on_headers_complete(self) -> None:
        self._parent = parent_in(self.headers)
        if self._parent is not None:
            self._came = time.time_ns()
            self._parsed = self._rows = 0
        super().on_headers_complete()

    def _matrix(self, body: bytes) -> Matrix | None:
        matrix = super()._matrix(body)
        if self._parent is not None and matrix is not None:
            self._parsed, self._rows = time.time_ns(), len(matrix)
        return matrix

    def _infer(self, body: bytes) -> tuple[bytes, Matrix, Array] | None:
        inferred = super()._infer(body)
        if self._parent is not None and inferred is not None:
            self._rows = len(inferred[1])
        return inferred

    def send(self, answer: bytes, size: int, started: float) -> None:
        """Sends an answer, as `HotProtocol` does, and makes the spans of a sampled request."""
        parent, self._parent = self._parent, None
        if parent is None or self.transport.is_closing():
            super().send(answer, size, started)
            return
        ready = time.time_ns()
        # The body came after the headers: what lies between them and this is the wait for it.
        whole = max(self._came, ready - int((time.perf_counter() - started) * 1e9))
        facts: dict[str, bool | int] = {"slipway.compiled": True}
        if self._parsed:
            facts["slipway.batch.requests"] = self.batch.together
            steps = [Step("parse", whole, self._parsed), Step("predict", self.batch.began, ready)]
        else:
            steps = [Step("predict", whole, ready)]
        path, came, rows = self.url.decode(), self._came, self._rows
        super().send(answer, size, started)
        sent = time.time_ns()

        def make() -> None:
            request = self.tracer.begin(parent, "POST", path, came)
            request.rows, request.steps = rows, steps
            request.facts |= facts
            self.tracer.end(request, 200, sent)

        # Other answers of this turn come first.
        self.loop.call_soon(make)


class TracedBatch(Batch):
    """A batch that knows when it was last predicted, and of how many requests it was.

    Attributes:
        began: ns since the epoch.
        together: requests.
    """

    began = 0
    together = 0

    def answer_all(self) -> None:
        """Answers all of them."""
        self.began, self.together = time.time_ns(), len(self._waiting)
        super().answer_all()
