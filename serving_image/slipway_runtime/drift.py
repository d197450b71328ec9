"""Counts in which bins of its profile a model's inputs and predictions fall.

A few rows a second are looked at in each process: with every answered row of that second, whichever
the request and the place in it, as likely as any other. That is a comparison of two whole numbers
for a request that none is taken of, and it comes after the answer. What goes wrong here is logged
the first time, costs the rows of that second, and concerns no answer.

What a profile is: `training_profile`; how it is read: `drift_profile`; where its inputs are in a
request: `drift_columns`; where the counts go: `drift_counts`.
"""

import logging
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipway_runtime.drift_columns import Columns, Places, length, values
from slipway_runtime.drift_counts import COUNT, open_counts
from slipway_runtime.drift_profile import Profile, ProfileError, load
from slipway_runtime.modelfile import ModelFile
from slipway_runtime.reservoir import Cells, Reservoir
from slipway_runtime.settings import ServerSettings
from slipway_runtime.training_profile import PREDICTION, is_output, output_columns

_log = logging.getLogger("slipway.drift")

_NAMES_SHOWN: Final = 20


class Drift:
    """Looks at a sample of what a model is asked and answers. For any thread.

    Args:
        profile: the bins.
        file: where to count.
        rows: how many rows a second to look at.
    """

    def __init__(self, profile: Profile, file: Path, rows: int) -> None:
        self._counts = open_counts(file, profile.cells)
        self._sample = Reservoir(rows)
        self._lock = threading.Lock()
        self._late: list[Cells] = []
        self._failed = False
        self._unmatched = False
        self._places = list(profile.places())
        self._outputs = [place for place in self._places if is_output(place[1].name)]

    def count(self) -> None:
        """Counts the rows looked at since the last time."""
        with self._lock:
            rows = self._sample.clear()
        # A row that is still being read is counted the next time, or never.
        read = [cells for cells in self._late if cells]
        late: list[Cells] = []
        for cells in rows:
            (read if cells else late).append(cells)
        self._late = late
        if not read:
            return
        try:
            flat = np.fromiter((cell for cells in read for cell in cells), np.intp)
            self._counts += np.bincount(flat, minlength=len(self._counts)).astype(COUNT)
        except Exception as error:
            self._fail(error)

    def _take(self, count: int, read: Callable[[int], Cells]) -> None:
        with self._lock:
            taken = self._sample.take(count)
        try:
            for row, cells in taken:
                # In one step: it may be counted at any moment.
                cells[:] = read(row)
        except Exception as error:
            self._fail(error)

    def _output_cells(self, found: Mapping[str, Any], row: int) -> Cells:
        """Returns the bins that a row of outputs falls in, by their names or else their order."""
        cells = [
            start + feature.bin(found[feature.name][row])
            for start, feature in self._outputs
            if feature.name in found
        ]
        if cells or not self._outputs:
            return cells
        if len(found) == len(self._outputs):
            pairs = zip(self._outputs, found.values(), strict=True)
            return [start + feature.bin(column[row]) for (start, feature), column in pairs]
        if not self._unmatched:
            self._unmatched = True
            expected = [feature.name for _, feature in self._outputs]
            fields = {"expected": expected[:_NAMES_SHOWN], "found": list(found)[:_NAMES_SHOWN]}
            _log.warning("predictions are not counted: they are not the profile's", extra=fields)
        return []

    def _fail(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            _log.warning("some rows could not be counted for drift", exc_info=error)


class CompiledDrift(Drift):
    """Looks at what a compiled model gets and gives.

    Args:
        profile: see `Drift`.
        file: see `Drift`.
        rows: see `Drift`.
        names: the columns' names in the matrices' order, or None.
        width: how many columns a matrix has.
        classes: the labels whose places among them `offer` may be given, or None.
    """

    def __init__(
        self,
        profile: Profile,
        file: Path,
        rows: int,
        names: Sequence[str] | None,
        width: int,
        classes: Sequence[Any] | None,
    ) -> None:
        super().__init__(profile, file, rows)
        places = {name: at for at, name in enumerate(names or map(str, range(width)))}
        inputs = [
            (start, feature.edges, places[feature.name])
            for start, feature in self._places
            if not is_output(feature.name)
        ]
        self._inputs = [(start, edges) for start, edges, _ in inputs]
        self._columns = np.array([at for _, _, at in inputs], np.intp)
        self._classes = classes

    def offer(self, matrix: Any, outputs: Any, places: bool = False) -> None:
        """Takes note of rows that were answered.

        Args:
            matrix: the model's input, finite, shape (rows, columns).
            outputs: its output, shape (rows,) or (rows, outputs).
            places: whether the output is the labels' places among the classes instead.
        """
        if not self._sample.passes(len(matrix)):
            self._take(len(matrix), lambda row: self._cells(matrix[row], outputs, row, places))

    def _cells(self, values: Any, outputs: Any, row: int, places: bool) -> Cells:
        # What `Feature.bin` does, without its care for what is no finite number.
        cells = [
            start + bisect_left(edges, value)
            for (start, edges), value in zip(
                self._inputs, values.take(self._columns).tolist(), strict=True
            )
        ]
        if places and self._classes is not None:
            return cells + self._output_cells({PREDICTION: [self._classes[outputs[row]]]}, 0)
        if self._outputs:
            cells += self._output_cells(dict(output_columns(outputs[row : row + 1])), 0)
        return cells


class NativeDrift(Drift):
    """Looks at what MLflow hands to a model and gets from it: tables, arrays or named tensors.

    Args:
        profile: see `Drift`.
        file: see `Drift`.
        rows: see `Drift`.
        model: what the model's ``MLmodel`` says, or None for one without a signature.
    """

    def __init__(
        self, profile: Profile, file: Path, rows: int, model: ModelFile | None = None
    ) -> None:
        super().__init__(profile, file, rows)
        self._columns = Columns(profile, model)

    def offer(self, data: Any, prediction: Any) -> None:
        """Takes note of rows that were answered.

        Args:
            data: the model's input.
            prediction: its output; one with another number of rows is left out.
        """
        try:
            count = length(data)
        except Exception:
            # Something without rows, like a question to a language model.
            return
        with self._lock:
            if self._sample.passes(count):
                return
        found: tuple[Places, Mapping[str, Any]] | None = None

        def read(row: int) -> Cells:
            nonlocal found
            if found is None:
                found = self._columns.find(data), _outputs(prediction, count)
            return self._cells(data, *found, row)

        self._take(count, read)

    def _cells(self, data: Any, places: Places, outputs: Mapping[str, Any], row: int) -> Cells:
        cells = []
        for (place, _), value in zip(places, values(data, row, places), strict=True):
            start, feature = self._places[place]
            cells.append(start + feature.bin(value))
        return cells + self._output_cells(outputs, row)


def _outputs(prediction: Any, count: int) -> Mapping[str, Any]:
    """Returns the columns of a prediction that has one row a row of the input, or nothing."""
    try:
        found = {name: np.asarray(column) for name, column in output_columns(prediction)}
        if any(len(column) != count for column in found.values()):
            return {}
    except Exception:
        return {}
    return {name: column.reshape(count, -1)[:, 0] for name, column in found.items()}


def counts_file() -> Path | None:
    """Returns where this process counts, as its server says, or None."""
    path = os.environ.get("SLIPWAY_DRIFT")
    return Path(path) if path else None


def watch(settings: ServerSettings, model: ModelFile) -> NativeDrift | None:
    """Returns what looks at the model in a model process, or None where there is nothing to see.

    A profile that is refused, or anything else that goes wrong, is logged and leaves it at None.
    """
    file = counts_file()
    if file is None or not settings.drift_rows:
        return None
    try:
        profile = load(settings.model_path, model)
        if profile is None:
            return None
        found = NativeDrift(profile, file, settings.drift_rows, model)
    except ProfileError as error:
        reason = str(error)
        _log.warning("the profile is refused: no drift is counted", extra={"reason": reason})
        return None
    except Exception as error:
        _log.warning("drift cannot be counted", exc_info=error)
        return None
    _log.info("drift is counted", extra={"features": len(profile.features)})
    return found
