"""The metrics of a model server, in Prometheus' format, all with model_name and model_version.

================================  =========  =======================================================
name                              kind       meaning
================================  =========  =======================================================
model_predictions_total           counter    prediction requests answered, with or without success
model_prediction_errors_total     counter    those of them answered with an error, by error_type
model_prediction_latency_seconds  histogram  whole request received to answer ready, of each of them
model_active_requests             gauge      prediction requests being received or worked on
model_input_size_bytes            histogram  size of each body that was received whole
model_compiled_predictions_total  counter    those answered by the compiled model
model_compiled                    gauge      1 while a compiled model is in service, by engine
================================  =========  =======================================================

and, where the version has a profile of its training data, those of `drift_counts.DriftCollector`.

So errors / predictions is the error rate. Every series exists from the start, at zero: a rate over
an error that has not happened yet is 0, not "no data".

A server has several front workers, and a scrape reaches one of them: they count in files that all
of them read (prometheus_client's multiprocess mode, on where ``PROMETHEUS_MULTIPROC_DIR`` is set),
so each tells the sum. ``process_*`` are sums over the server's processes.
"""

import bisect
import collections
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from slipway_runtime.drift_counts import DriftCollector
from slipway_runtime.drift_profile import Profile
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

ENGINES: Final = ("linear", "trees")


class Metrics:
    """The metrics of one model version, in a registry of their own.

    Args:
        model_name: value of the label ``model_name``.
        model_version: value of the label ``model_version``.
        server: the process whose and whose children's memory and CPU are told, by default this one.
    """

    def __init__(self, model_name: str, model_version: str, server: int | None = None) -> None:
        # Doubles the number of series to say when each began; nobody asks for it.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        labels = {"model_name": model_name, "model_version": model_version}
        names = tuple(labels)
        self._labels = labels
        self._documentation: dict[str, str] = {}

        def described(name: str, documentation: str) -> tuple[str, str]:
            self._documentation[name.removesuffix("_total")] = documentation
            return name, documentation

        predictions = Counter(
            *described(
                "model_predictions_total", "Prediction requests answered, with or without success."
            ),
            names,
            registry=self._registry,
        )
        errors = Counter(
            *described(
                "model_prediction_errors_total",
                "Prediction requests answered with an error, by its type.",
            ),
            (*names, "error_type"),
            registry=self._registry,
        )
        latency = Histogram(
            *described(
                "model_prediction_latency_seconds",
                "Time from the whole request received to the answer ready.",
            ),
            names,
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        active = Gauge(
            *described("model_active_requests", "Prediction requests being received or worked on."),
            names,
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        size = Histogram(
            *described("model_input_size_bytes", "Size of the body of a prediction request."),
            names,
            buckets=SIZE_BUCKETS,
            registry=self._registry,
        )
        by_compiled = Counter(
            *described(
                "model_compiled_predictions_total",
                "Prediction requests answered by the compiled model.",
            ),
            names,
            registry=self._registry,
        )
        compiled = Gauge(
            *described("model_compiled", "1 while a compiled model is in service, by its engine."),
            (*names, "engine"),
            registry=self._registry,
            multiprocess_mode="livemin",
        )
        self._predictions = predictions.labels(**labels)
        self.by_compiled = by_compiled.labels(**labels)
        self._latency = latency.labels(**labels)
        self._errors = {kind: errors.labels(**labels, error_type=kind) for kind in ERROR_TYPES}
        self._compiled = {name: compiled.labels(**labels, engine=name) for name in ENGINES}
        self.active = active.labels(**labels)
        self.input_size = size.labels(**labels)
        self._sizes: list[int] = []
        self._seconds: list[float] = []
        self._scraped = self._registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            self._scraped = CollectorRegistry()
            self._scraped.register(_Shared(self._documentation))
        # The processes' own memory, CPU and file descriptors, under their customary names.
        self._scraped.register(_Processes(server or os.getpid()))
        PlatformCollector(registry=self._scraped)

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

    def answered_compiled(self, size: int, seconds: float) -> bool:
        """Notes one prediction by the compiled model; `count_compiled` counts those noted.

        Counting each at once would cost as much as the prediction.

        Args:
            size: of the request's body, in bytes.
            seconds: as in `answered`.

        Returns:
            Whether it is the first since they were counted.
        """
        self._sizes.append(size)
        self._seconds.append(seconds)
        return len(self._sizes) == 1

    def count_compiled(self) -> None:
        """Counts the predictions noted; call it soon after the first."""
        sizes, seconds = self._sizes, self._seconds
        self._sizes, self._seconds = [], []
        if sizes:
            self._predictions.inc(len(sizes))
            self.by_compiled.inc(len(sizes))
            _observe_all(self.input_size, SIZE_BUCKETS, sizes)
            _observe_all(self._latency, LATENCY_BUCKETS, seconds)

    def compiled(self, engine: str | None) -> None:
        """Tells which engine's compiled model is in service, if any."""
        for name, gauge in self._compiled.items():
            gauge.set(name == engine)

    def add_drift(self, profile: Profile, folder: Path) -> None:
        """Has what all processes count in ``folder`` told too (see `drift_counts`)."""
        self._scraped.register(DriftCollector(profile, folder, self._labels))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Counts what is noted and returns `exposition`."""
        self.count_compiled()
        return self.exposition(accept)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Returns what is counted, in the format that ``accept`` prefers, and its content type.

        It takes milliseconds and may be called in any thread.

        Args:
            accept: the request's Accept header; Prometheus' text format where it is empty.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:
            # The library fails on a version that is none.
            encode, content_type = choose_encoder("")
        return encode(self._scraped), content_type


def _observe_all(histogram: Histogram, bounds: Sequence[float], values: Sequence[float]) -> None:
    """Does what ``observe`` does for each value, with one addition to each bucket.

    The library has no public way to; the tests hold this to what ``observe`` does.
    """
    counts = collections.Counter(bisect.bisect_left(bounds, value) for value in values)
    for bucket, count in counts.items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))


class _Shared(Collector):
    """What all front workers counted, each metric with its own words instead of the library's."""

    def __init__(self, documentation: dict[str, str]) -> None:
        self._documentation = documentation
        self._collector = MultiProcessCollector(CollectorRegistry())

    def collect(self) -> Iterator[Any]:
        for metric in self._collector.collect():
            metric.documentation = self._documentation.get(metric.name, metric.documentation)
            yield metric


class _Processes(Collector):
    """Memory, CPU and descriptors of the server's processes, summed. Source: proc(5)."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._tick = os.sysconf("SC_CLK_TCK")

    def collect(self) -> Iterator[Any]:
        resident = virtual = descriptors = 0
        seconds = 0.0
        started: float | None = None
        for process in self._members():
            try:
                fields = _stat(process)
                descriptors += sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
            except OSError:
                continue
            seconds += (int(fields[11]) + int(fields[12])) / self._tick
            virtual += int(fields[20])
            resident += int(fields[21]) * self._page
            if process == self._server:
                started = int(fields[19]) / self._tick + _boot_time()
        gauges = {
            "process_resident_memory_bytes": ("Resident memory size in bytes.", resident),
            "process_virtual_memory_bytes": ("Virtual memory size in bytes.", virtual),
            "process_open_fds": ("Number of open file descriptors.", descriptors),
        }
        for name, (documentation, value) in gauges.items():
            yield GaugeMetricFamily(name, documentation, value)
        yield CounterMetricFamily(
            "process_cpu_seconds_total", "Total user and system CPU time in seconds.", seconds
        )
        if started is not None:
            documentation = "Start time of the process since unix epoch in seconds."
            yield GaugeMetricFamily("process_start_time_seconds", documentation, started)

    def _members(self) -> list[int]:
        """Returns the server and its children; they have none of their own."""
        members = [self._server]
        for folder in Path("/proc").glob("[1-9]*"):
            with contextlib.suppress(OSError):
                if int(_stat(int(folder.name))[1]) == self._server:
                    members.append(int(folder.name))
        return members


def _stat(process: int) -> list[str]:
    """Returns the fields of a process' ``stat`` that follow its name."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def _boot_time() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime"))
