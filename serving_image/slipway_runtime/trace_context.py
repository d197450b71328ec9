"""The trace that a request is part of, as far as every process knows it: without OpenTelemetry.

A request belongs to a trace where its ``traceparent`` says so and says that it is sampled; of
all others nothing is kept. Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

HEADER: Final = b"traceparent"

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_LENGTH: Final = 55
_SAMPLED: Final = frozenset(b"13579bdf")


class Parent(NamedTuple):
    """The caller's span, by the ids of the trace and of itself."""

    trace_id: int
    span_id: int


class Step(NamedTuple):
    """Something that took a while: from when to when (ns since the epoch), and what it was made of.

    The clock is one for all processes of a machine.
    """

    name: str
    started: int
    ended: int
    inner: tuple["Step", ...] = ()


class Steps(list[Step]):
    """Steps that follow one another; the first begins now."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.time_ns()

    def done(self, name: str) -> None:
        """Ends a step; the next begins."""
        now = time.time_ns()
        self.append(Step(name, self._last, now))
        self._last = now


class _Untold(Steps):
    """Steps that nobody asks for."""

    def done(self, name: str) -> None:
        """Does nothing."""


UNTOLD: Final[Steps] = _Untold()
"""For requests that are not sampled."""


@dataclass(eq=False)
class RequestTrace:
    """A sampled request while it is worked on.

    Attributes:
        ids: ``trace_id`` and ``span_id`` of its span, in hexadecimal, as log lines have them.
        steps: what took time so far.
        rows: how many it asks predictions of; None if nobody has counted.
        facts: further attributes of its span.
        error: the type of its failure, or None.
        span: OpenTelemetry's own, where there is one.
    """

    ids: dict[str, str]
    steps: list[Step] = field(default_factory=list)
    rows: int | None = None
    facts: dict[str, bool | int] = field(default_factory=dict)
    error: str | None = None
    span: Any = None


current: Final[ContextVar[RequestTrace | None]] = ContextVar("slipway_trace", default=None)
"""The trace of the request that is worked on, if it is sampled."""


def sampled_parent(traceparent: bytes) -> Parent | None:
    """Returns the caller's span where it is sampled; None where it is not, or the text is none.

    A later version's text may be longer. Envoy takes that for none and lets it pass, so whoever
    sends one would have a request traced that the gateway has not chosen: it is none here too.
    """
    if len(traceparent) != _LENGTH or traceparent[_LENGTH - 1] not in _SAMPLED:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == b"ff":
        return None
    parent = Parent(int(found[2], 16), int(found[3], 16))
    return parent if parent.trace_id and parent.span_id else None


def parent_in(headers: list[tuple[bytes, bytes]]) -> Parent | None:
    """Returns what `sampled_parent` does of the first ``traceparent`` among a request's headers.

    Args:
        headers: names in lower case, and values.
    """
    for name, value in headers:
        if name == HEADER:
            return sampled_parent(value)
    return None


def steps_of_request() -> Steps:
    """Returns what is to take down the steps of the request that is worked on."""
    return UNTOLD if current.get() is None else Steps()


def answered_by_compiled(rows: int, steps: Steps) -> None:
    """Notes, where the request is sampled, that the compiled model has answered it."""
    if (request := current.get()) is not None:
        request.rows = rows
        request.steps += steps
        request.facts["slipway.compiled"] = True
