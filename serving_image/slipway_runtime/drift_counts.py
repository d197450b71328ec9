"""What the processes of one server counted of drift, and the metrics that it becomes.

Every process counts in a file of its own in one folder: 64-bit whole numbers, one a bin, in the
profile's order. A process that is started again goes on with the file of the one before, so counts
never fall; whoever is scraped adds up the files. The library's own way to share counts would take a
lock and a lookup for each of hundreds of bins.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from slipway_runtime.drift_profile import Profile

COUNT: Final = np.uint64


def open_counts(file: Path, cells: int) -> Any:
    """Returns the counts in a file as an array, at 0 where there are none yet."""
    size = cells * np.dtype(COUNT).itemsize
    if not file.exists() or file.stat().st_size != size:
        # In one step: a scrape may come at any moment.
        fresh = file.with_suffix(".new")
        fresh.write_bytes(bytes(size))
        fresh.replace(file)
    return np.memmap(file, COUNT, "r+", shape=(cells,))


class DriftCollector(Collector):
    """The metrics of drift: what all processes counted, and what is expected.

    ===============================  =======  ====================================================
    name                             kind     meaning
    ===============================  =======  ====================================================
    model_drift_observations_total   counter  rows looked at whose value of a feature is in a bin
    model_drift_expected_ratio       gauge    share of the profile's rows in the bin
    ===============================  =======  ====================================================

    Args:
        profile: the bins.
        folder: where the processes count.
        labels: of every series, beside ``feature`` and ``bin``.
    """

    def __init__(self, profile: Profile, folder: Path, labels: Mapping[str, str]) -> None:
        self._cells = profile.cells
        self._folder = folder
        self._names = (*labels, "feature", "bin")
        self._values = [
            (*labels.values(), feature.name, str(at))
            for feature in profile.features
            for at in range(len(feature.shares))
        ]
        self._expected = GaugeMetricFamily(
            "model_drift_expected_ratio",
            "Share of the rows that the model's profile was made of in the bin.",
            labels=self._names,
        )
        shares = [share for feature in profile.features for share in feature.shares]
        for values, share in zip(self._values, shares, strict=True):
            self._expected.add_metric(values, share)

    def collect(self) -> Iterator[Any]:
        """See `prometheus_client.registry.Collector`."""
        counts = np.zeros(self._cells, COUNT)
        for file in self._folder.iterdir():
            found = np.fromfile(file, COUNT) if file.suffix != ".new" else counts[:0]
            if len(found) == self._cells:
                counts += found
        counter = CounterMetricFamily(
            "model_drift_observations",
            "Rows looked at whose value of a feature is in a bin of the model's profile.",
            labels=self._names,
        )
        for values, count in zip(self._values, counts.tolist(), strict=True):
            counter.add_metric(values, count)
        yield counter
        yield self._expected
