"""The metrics of a model server, in Prometheus' format, all with model_name and model_version.

================================  =========  =======================================================
name                              kind       meaning
================================  =========  =======================================================
model_predictions_total           counter    prediction requests answered, with or without success
model_prediction_errors_total     counter    those of them answered with an error, by error_type
model_prediction_latency_seconds  histogram  whole request received to answer ready, of each of them
model_active_requests             gauge      prediction requests being received or worked on
model_input_size_bytes            histogram  size of each body that was received whole
================================  =========  =======================================================

So errors / predictions is the error rate. Every series exists from the start, at zero: a rate over
an error that has not happened yet is 0, not "no data". One process serves a pod, so the counters
are whole.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from slipway_runtime.errors import ERROR_TYPES, ErrorType

LATENCY_BUCKETS: Final = (
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
"""Upper bounds in seconds, 1 ms to 10 s; finest where models of tables answer."""

SIZE_BUCKETS: Final = tuple(float(256 * 4**power) for power in range(10))
"""Upper bounds in bytes, 256 B to 64 MiB, each four times the one before."""


class Metrics:
    """The metrics of one model version, in a registry of their own.

    Args:
        model_name: value of the label ``model_name``.
        model_version: value of the label ``model_version``.
    """

    def __init__(self, model_name: str, model_version: str) -> None:
        # Doubles the number of series to say when each began; nobody asks for it.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        labels = {"model_name": model_name, "model_version": model_version}
        names = tuple(labels)
        predictions = Counter(
            "model_predictions_total",
            "Prediction requests answered, with or without success.",
            names,
            registry=self._registry,
        )
        errors = Counter(
            "model_prediction_errors_total",
            "Prediction requests answered with an error, by its type.",
            (*names, "error_type"),
            registry=self._registry,
        )
        latency = Histogram(
            "model_prediction_latency_seconds",
            "Time from the whole request received to the answer ready.",
            names,
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        active = Gauge(
            "model_active_requests",
            "Prediction requests being received or worked on.",
            names,
            registry=self._registry,
        )
        size = Histogram(
            "model_input_size_bytes",
            "Size of the body of a prediction request.",
            names,
            buckets=SIZE_BUCKETS,
            registry=self._registry,
        )
        self._predictions = predictions.labels(**labels)
        self._latency = latency.labels(**labels)
        self._errors = {kind: errors.labels(**labels, error_type=kind) for kind in ERROR_TYPES}
        self.active = active.labels(**labels)
        self.input_size = size.labels(**labels)
        # The process' own memory, CPU and file descriptors, under their customary names.
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def answered(self, seconds: float, error: ErrorType | None = None) -> None:
        """Counts one answered prediction request.

        Args:
            seconds: time from the whole request received to the answer ready.
            error: what went wrong, or None for a prediction.
        """
        self._predictions.inc()
        self._latency.observe(seconds)
        if error is not None:
            self._errors[error].inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the exposition, in the format that ``accept`` prefers, and its content type.

        Args:
            accept: the request's Accept header; Prometheus' text format where it is empty.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
