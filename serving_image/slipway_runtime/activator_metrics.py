"""The metrics of an activator, in Prometheus' format.

============================  =========  =========================================================
name                          kind       meaning
============================  =========  =========================================================
activator_waiting_requests    gauge      requests that are held now
activator_requests_total      counter    requests that are over, by ``result`` (see RESULTS)
activator_wait_seconds        histogram  how long requests were held that a server then took: the
                                         cold start as users feel it
============================  =========  =========================================================

All have the labels ``model_name`` and ``model_version``, and are there from the start, at zero.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from slipway_runtime.activator_settings import Sleeper

RESULTS: Final = (
    "answered",  # by a server, whatever it said
    "expired",  # 503: no server was ready in time
    "refused",  # 413, 503: too long, or too many or too much was held
    "gone",  # the client went away
    "handed_over",  # 503, for the gateway to ask another activator: this one ends
    "failed",  # 502, 504: the server broke off, or did not answer in time
)
_NAMES: Final = ("model_name", "model_version")
_BUCKETS: Final = (0.1, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240)


class ServerMetrics:
    """What is counted of one server."""

    def __init__(self, waiting: Gauge, requests: Counter, seconds: Histogram, *of: str) -> None:
        self._requests = {result: requests.labels(*of, result) for result in RESULTS}
        self.waiting = waiting.labels(*of)
        self.seconds = seconds.labels(*of)

    def over(self, result: str) -> None:
        """Counts a request with one of RESULTS."""
        self._requests[result].inc()


class ActivatorMetrics:
    """The metrics of all servers.

    Args:
        servers: whose requests are held.
    """

    def __init__(self, servers: Iterable[Sleeper]) -> None:
        disable_created_metrics()
        self._registry = CollectorRegistry()
        waiting = Gauge(
            "activator_waiting_requests",
            "Requests that are held now.",
            _NAMES,
            registry=self._registry,
        )
        requests = Counter(
            "activator_requests_total",
            "Requests that are over.",
            (*_NAMES, "result"),
            registry=self._registry,
        )
        seconds = Histogram(
            "activator_wait_seconds",
            "How long requests were held that a server then took.",
            _NAMES,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.of = {
            server.name: ServerMetrics(waiting, requests, seconds, server.model, server.version)
            for server in servers
        }

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the exposition, in the format that ``accept`` prefers, and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:
            # The library fails on a version that is none.
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type
