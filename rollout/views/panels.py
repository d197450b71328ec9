"""The picture of a rollout: panels on one time axis. Drawn from numbers and this file's own words;
nothing that comes from outside is written into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from rollout.journal import Rollout
from rollout.judge.evidence import METRICS
from rollout.judge.rules import Rules
from rollout.views.series import VERSIONS, Array, Series
from rollout.views.summary import limits, name, objective

TONES: Final = {
    "roll back": "bad",
    "not enough evidence": "unknown",
    "hold": "wait",
    "advance": "good",
}

STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slipway",
    "font.size": 9,
    "axes.unicode_minus": False,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_WIDTH: Final = 11.0
_GAP: Final = 0.5  # inches between two panels
_NEAR: Final = 0.02  # of the width: decisions closer than this share a mark
_SLOWEST: Final = 15.0  # where a time above all buckets is drawn
_POINTS: Final = (0.1, 0.3, 1)
_TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)

Colors = Mapping[str, str]


def figure(rollout: Rollout, data: Series, colors: Colors) -> Figure:
    """The picture in `colors`, which have the keys of plots.LIGHT."""
    with matplotlib.style.context(["default", STYLE]):
        return _Picture(rollout, data, colors).draw()


class _Picture:
    """One figure while it is drawn."""

    def __init__(self, rollout: Rollout, data: Series, colors: Colors) -> None:
        self.rollout, self.data, self.colors = rollout, data, colors
        self.x = data.middles - data.start
        self.ends = data.ends - data.start
        self.length = data.end - data.start

    def draw(self) -> Figure:
        panels: list[tuple[float, Callable[[Axes], None]]] = [
            (1.0, self._weight),
            (1.1, self._verdicts),
        ]
        for metric in METRICS:
            panels.append((1.35, partial(self._share, metric=metric)))
            panels.append((1.35, partial(self._difference, metric=metric)))
        panels += [(1.7, self._latency), (1.1, self._requests)]
        heights = [height for height, _ in panels]
        made = Figure(figsize=(_WIDTH, sum(heights) + _GAP * len(heights) + 0.6))
        total = made.get_figheight()
        grid = made.add_gridspec(
            len(panels), 1, height_ratios=heights, hspace=_GAP * len(heights) / sum(heights),
            left=0.085, right=0.985, top=1 - 0.72 / total, bottom=0.4 / total,
        )  # fmt: skip
        made.patch.set_alpha(0)
        first: Axes | None = None
        for row, (_, draw) in enumerate(panels):
            axes = made.add_subplot(grid[row], sharex=first)
            first = first or axes
            self._prepare(axes)
            draw(axes)
        assert first is not None  # noqa: S101
        self._time(first)
        self._decisions(first)
        self._legend(made)
        return made

    def _prepare(self, axes: Axes) -> None:
        axes.patch.set_alpha(0)
        axes.grid(True, color=self.colors["grid"], linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=self.colors["muted"], length=3)
        for spine in axes.spines.values():
            spine.set_color(self.colors["muted"])
        for before, after in self.data.gaps:
            edges = before - self.data.start, after - self.data.start
            axes.axvspan(*edges, color=self.colors["gap"], alpha=0.25, linewidth=0)
        for decision in self.rollout.decisions:
            at = decision.at - self.data.start
            axes.axvline(at, color=self.colors["muted"], linewidth=0.7, linestyle=(0, (2, 2)))

    def _title(self, axes: Axes, text: str) -> None:
        axes.set_title(text, loc="left", fontsize=9.5, color=self.colors["ink"], pad=4)

    def _time(self, axes: Axes) -> None:
        """Ticks on whole minutes or hours of UTC, not more than about ten."""
        axes.set_xlim(0, max(self.length, 1))
        every = next((tick for tick in _TICKS if self.length / tick <= 10), None)
        if every is None:
            every = 86400 * int(np.ceil(self.length / 864000))
        first = -(-self.data.start // every) * every - self.data.start
        axes.xaxis.set_major_locator(FixedLocator(list(np.arange(first, self.length, every))))
        shape = "%H:%M:%S" if every < 60 else "%H:%M" if self.length < 86400 else "%d %b %H:%M"
        start = self.data.start
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: datetime.fromtimestamp(start + x, UTC).strftime(shape))
        )

    def _decisions(self, axes: Axes) -> None:
        """The numbers of the decisions above the first panel, those close to another together."""
        groups: list[tuple[float, list[int]]] = []
        for number, decision in enumerate(self.rollout.decisions, 1):
            at = decision.at - self.data.start
            if groups and at - groups[-1][0] < _NEAR * self.length * (1 + len(groups[-1][1])):
                groups[-1][1].append(number)
            else:
                groups.append((at, [number]))
        for at, numbers in groups:
            text = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
            axes.annotate(
                text, (at, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="left" if at < 0.01 * self.length else "center",
                fontsize=8.5, fontweight="bold", color=self.colors["ink"], annotation_clip=False,
            )  # fmt: skip

    def _legend(self, made: Figure) -> None:
        numbers = {"canary": self.rollout.canary, "stable": self.rollout.stable}
        lines = [Line2D([], [], color=self.colors[version], linewidth=2) for version in VERSIONS]
        legend = made.legend(
            lines, [f"{version}, version {numbers[version]}" for version in VERSIONS],
            loc="upper right", bbox_to_anchor=(0.99, 1.0), ncols=2, frameon=False,
            labelcolor=self.colors["ink"],
        )  # fmt: skip
        legend.set_in_layout(False)

    def _weight(self, axes: Axes) -> None:
        start = self.data.start
        times = [0.0, *(moved.at - start for moved in self.rollout.weights), self.length]
        weights = [0, *(moved.weight for moved in self.rollout.weights)]
        weights.append(weights[-1])
        axes.step(times, weights, where="post", color=self.colors["canary"], linewidth=2)
        axes.fill_between(
            times, weights, step="post", color=self.colors["canary"], alpha=0.15, linewidth=0
        )
        axes.set_ylim(0, 108)
        axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g} %"))
        axes.set_title(
            "weight of the canary; numbers are decisions, listed below", loc="left",
            fontsize=9.5, color=self.colors["ink"], pad=17,
        )  # fmt: skip

    def _verdicts(self, axes: Axes) -> None:
        """A lane for each verdict, so that color is not all that tells them apart."""
        kinds = list(TONES)[::-1]
        for start, end, kind in self._spells():
            if kind in TONES:
                lane = kinds.index(kind)
                axes.barh(
                    lane, max(end - start, self.length / 400), left=start, height=0.72,
                    color=self.colors[TONES[kind]], linewidth=0,
                )  # fmt: skip
        axes.set_ylim(-0.6, len(kinds) - 0.4)
        axes.set_yticks(range(len(kinds)), ["not enough" if len(k) > 9 else k for k in kinds])
        self._title(axes, "verdict of the gate (not enough: evidence)")

    def _spells(self) -> Iterator[tuple[float, float, str]]:
        """(start, end, kind) of each verdict, as long as it stood."""
        judged = self.rollout.verdicts
        turns = [
            one
            for before, one in zip((None, *judged), judged, strict=False)
            if before is None or before.kind != one.kind
        ]
        ends = [*(after.at for after in turns[1:]), self.data.end]
        for one, end in zip(turns, ends, strict=True):
            yield one.at - self.data.start, end - self.data.start, one.kind

    def _share(self, axes: Axes, metric: str) -> None:
        tops = [0.0005]
        for version in VERSIONS[::-1]:
            known, color = self.data.shares[metric][version], self.colors[version]
            axes.fill_between(
                self.ends, known.low, known.high, color=color, alpha=0.18, linewidth=0
            )
            axes.plot(self.ends, known.so_far, color=color, linewidth=1.8)
            axes.plot(self.x, known.now, color=color, linestyle="none", marker=".", markersize=3)
            tops += [_most(known.now, 97), 1.15 * _most(known.so_far, 97), _most(known.high, 60)]
        top = min(1.25 * max(tops), 1.02)
        limit, note = limits(self.rollout).get(metric), ""
        if limit is not None:
            note = f"; limit {limit * 100:g} %"
            if limit < top or limit < 3 * top:
                top = max(top, 1.15 * limit)
                self._line(axes, limit)
            else:
                note += ", above the picture"
        axes.set_ylim(0, top)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y * 100:g} %"))
        what = name(metric, objective(self.rollout))
        self._title(axes, f"{what}: share so far with its 95 % interval; dots: just then{note}")

    def _difference(self, axes: Axes, metric: str) -> None:
        band, rules = self.data.bands[metric], Rules.of(self.rollout.rules)
        known = ~np.isnan(band.low)
        x = self.ends[known]
        axes.fill_between(
            x, band.low[known], band.high[known], color=self.colors["canary"], alpha=0.22,
            linewidth=0,
        )  # fmt: skip
        axes.plot(x, band.estimate[known], color=self.colors["canary"], linewidth=1.6)
        self._line(axes, rules.tolerance)
        needed = np.where(band.needed[known] < 1, band.needed[known], np.nan)
        axes.step(
            x, needed, where="post", color=self.colors["good"], linewidth=1.3, linestyle=(0, (5, 2))
        )
        axes.axhline(0, color=self.colors["muted"], linewidth=0.8)
        axes.set_yscale("symlog", linthresh=rules.regression)
        least, most = _most(-band.estimate, 99), _most(band.estimate, 99)
        top = np.nanmax([1.4 * _most(band.needed, 100), 4 * rules.regression, 1.5 * most])
        low, top = -min(max(4 * rules.regression, 1.5 * least), 1.1), min(top, 1.1)
        axes.set_ylim(low, top)
        sizes = [size for size in _POINTS if size >= 2 * rules.regression]
        ticks = [*(-size for size in sizes), -rules.regression, 0, rules.regression, *sizes]
        axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low < tick < top]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y * 100:+g}" if y else "0"))
        self._title(
            axes,
            f"{name(metric, objective(self.rollout))}: canary - stable in points, and what the gate"
            " had proven (band). Wholly above the red line: roll back; below the green: go on",
        )

    def _latency(self, axes: Axes) -> None:
        for version in VERSIONS[::-1]:
            for share, style in zip((0.5, 0.95, 0.99), (":", "-", "--"), strict=True):
                seconds = np.minimum(self.data.quantiles[version][share], _SLOWEST)
                wide = 1.6 if share == 0.95 else 1.0
                axes.plot(
                    self.x, seconds, color=self.colors[version], linestyle=style, linewidth=wide
                )
        limit = objective(self.rollout)
        self._line(axes, limit)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0.0002), min(max(high, 1.6 * limit), 1.2 * _SLOWEST))
        ticks = {0.001: "1 ms", 0.01: "10 ms", 0.1: "100 ms", 1: "1 s", _SLOWEST: "> 10 s"}
        axes.yaxis.set_major_locator(FixedLocator(list(ticks)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: ticks.get(round(y, 6), f"{y:g}")))
        self._title(
            axes,
            f"latency: p50 dotted, p95 solid, p99 dashed; red: the objective for p95, {limit:g} s",
        )

    def _requests(self, axes: Axes) -> None:
        for version in VERSIONS[::-1]:
            rate = self.data.per_second[version]
            axes.plot(self.x, rate, color=self.colors[version], linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        self._title(axes, "requests a second; grey: no evidence; times in UTC")

    def _line(self, axes: Axes, y: float) -> None:
        axes.axhline(y, color=self.colors["bad"], linewidth=1.3, linestyle=(0, (5, 2)))


def _most(values: Array, percentile: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.percentile(known, percentile)) if len(known) else 0.0
