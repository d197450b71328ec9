"""The metrics of a comparer, in Prometheus' format.

==================================  =======  =====================================================
name                                kind     meaning
==================================  =======  =====================================================
model_comparisons_total             counter  requests that stable and the shadow both answered
model_disagreements_total           counter  those of them whose answers differ (see `compared`)
model_compared_rows_total           counter  rows in them that either predicted
model_disagreeing_rows_total        counter  those rows that differ
model_comparison_errors_total       counter  requests not compared, for want of an answer of `side`
model_comparisons_dropped_total     counter  requests not compared: too many, too long, cut off
model_prediction_psi                gauge    population stability index of the shadow's predicted
                                             values; NaN before 200 requests with predictions
==================================  =======  =====================================================

All have the labels ``model_name``, ``model_version`` (the shadow's) and ``against`` (stable's), and
all but the gauge are there from the start, at zero.
"""

import threading
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from slipway_runtime.compare_answers import Answer, Difference, Kind, UnreadableError, differ, rows
from slipway_runtime.compare_psi import Stability

SIDES: Final = ("stable", "shadow")


class Comparisons:
    """The counts of one shadow against one stable version.

    Args:
        model_name: value of the label ``model_name``.
        shadow: the shadow's version, label ``model_version``.
        stable: stable's version, label ``against``.
    """

    def __init__(self, model_name: str, shadow: str, stable: str) -> None:
        disable_created_metrics()
        self._registry = CollectorRegistry()
        values = (model_name, shadow, stable)
        names = ("model_name", "model_version", "against")

        def counter(name: str, documentation: str) -> Counter:
            return Counter(name, documentation, names, registry=self._registry).labels(*values)

        self._compared = counter(
            "model_comparisons_total", "Requests that stable and the shadow both answered."
        )
        self._disagreements = counter(
            "model_disagreements_total", "Those of them whose answers differ."
        )
        self._rows = counter("model_compared_rows_total", "Rows that either predicted.")
        self._differing = counter("model_disagreeing_rows_total", "Those of them that differ.")
        self.dropped = counter(
            "model_comparisons_dropped_total", "Requests not compared: too many, too long, cut off."
        )
        errors = Counter(
            "model_comparison_errors_total",
            "Requests not compared, for want of an answer of a side.",
            (*names, "side"),
            registry=self._registry,
        )
        self._errors = {side: errors.labels(*values, side) for side in SIDES}
        psi = Gauge(
            "model_prediction_psi",
            "Population stability index of the shadow's predicted values against stable's.",
            names,
            registry=self._registry,
        )
        self._stability = Stability()
        self._lock = threading.Lock()
        psi.labels(*values).set_function(self._index)

    def compared(self, kind: Kind, stable: Answer, shadow: Answer) -> None:
        """Compares and counts two answers to the same request; two that hold no predictions agree
        if their statuses are of one class.

        Raises:
            UnreadableError: one of them makes no sense; it is counted as an error of its side.
        """
        # One at a time: what an answer takes in memory is many times its bytes.
        with self._lock:
            difference = Difference(status=stable.status // 100 != shadow.status // 100)
            if stable.predicts and shadow.predicts:
                found = []
                for side, answer in zip(SIDES, (stable, shadow), strict=True):
                    try:
                        found.append(rows(kind, answer))
                    except UnreadableError:
                        self.failed(side)
                        raise
                difference = differ(found[0], found[1], self._stability.add)
                self._stability.requests += 1
        self._compared.inc()
        self._rows.inc(difference.rows)
        self._differing.inc(difference.differing)
        if difference:
            self._disagreements.inc()

    def failed(self, side: str) -> None:
        """Counts a request that one of SIDES gave nothing to compare for."""
        self._errors[side].inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the exposition, in the format that ``accept`` prefers, and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:
            # The library fails on a version that is none.
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def _index(self) -> float:
        with self._lock:
            return self._stability.index()
