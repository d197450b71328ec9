"""The picture: what a person sees of serving.json. Drawn with matplotlib, from the JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.serving.cases import CASES, MANY, ONE, ROWS_ONE

_COLORS: Final = {"limit": "#9aa5b1", "slipway": "#0b7285"}
_PEER: Final = "#e0a458"
_GOAL: Final = "#c92a2a"
_GRAY: Final = "#495057"


class _Panel(NamedTuple):
    """Bars of one measure; the goal is `factor` times the figure of `other`, or `factor` alone."""

    measure: str
    title: str
    digits: int
    factor: float
    other: str
    better: str


_PANELS: Final = (
    _Panel(f"{MANY.key}.per_second", "requests/s, 32 connections", 0, 0.6, "limit", "more"),
    _Panel(f"{ONE.key}.p50_ms", "median ms, 1 connection", 2, 1.5, "limit", "less"),
    _Panel(f"{ROWS_ONE.key}.per_second", "requests/s of 100 rows", 0, 10, "mlflow", "more"),
    _Panel("pss_mib", "MiB of all its processes", 0, 1, "mlflow", "less"),
    _Panel("ready_s", "seconds to ready", 1, 2, "", "less"),
)


def draw(content: dict[str, Any], file: Path) -> None:
    """Draws the content of serving.json into `file`: bars for the main cases, dots for all.

    A dashed line is Slipway's goal in that panel.
    """
    matplotlib.use("Agg")
    medians = content["medians"]
    measured = [case for case in CASES if case.key in medians]
    bars = [case for case in measured if case.main] or measured[:1]
    shares = _shares(medians)
    heights = [2.6] * len(bars) + ([2.9] if len(shares) > 1 else [])
    figure = Figure(figsize=(17, sum(heights) + 0.5), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False, hspace=0.04)
    for part, case in zip(parts[:, 0], bars, strict=False):
        part.suptitle(case.title, x=0.005, ha="left", fontsize=13, fontweight="bold")
        row = part.subplots(1, len(_PANELS), squeeze=False)[0]
        for axes, panel in zip(row, _PANELS, strict=True):
            _bars(axes, medians[case.key], content["servers"], panel, named=axes is row[0])
    if len(shares) > 1:
        last = parts[-1, 0]
        last.suptitle(
            "every model and width: requests/s at 32 connections, as a share of the limit",
            x=0.005,
            ha="left",
            fontsize=13,
            fontweight="bold",
        )
        _dots(last.subplots(), shares, content["cases"])
    machine = content["machine"]
    figure.suptitle(
        f"One worker each, {machine['cpu']}, {machine['cores']} cores, {content['date'][:10]}. "
        "Dashed: Slipway's goal.",
        x=0.995,
        ha="right",
        fontsize=10.5,
        color=_GRAY,
    )
    figure.savefig(file, dpi=80)


def _bars(
    axes: Axes,
    case: dict[str, dict[str, float]],
    titles: dict[str, str],
    panel: _Panel,
    *,
    named: bool,
) -> None:
    names = [server for server in titles if server in case]
    values = [case[name].get(panel.measure, 0.0) for name in names]
    places = list(range(len(names)))
    axes.barh(places, values, color=[_COLORS.get(name, _PEER) for name in names], height=0.7)
    axes.set_yticks(places, [titles[name] for name in names] if named else [""] * len(names))
    axes.invert_yaxis()
    base = case.get(panel.other, {}).get(panel.measure, 0.0) if panel.other else 1.0
    goal = panel.factor * base
    axes.set_xlim(0, (max([*values, goal]) or 1.0) * 1.25)
    for place, value in zip(places, values, strict=True):
        text = f"{value:,.{panel.digits}f}" if value else "-"
        axes.annotate(
            text,
            (value, place),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize=10,
        )
    if goal:
        axes.axvline(goal, color=_GOAL, linestyle="--", linewidth=1)
    axes.set_title(f"{panel.title}: {panel.better} is better", fontsize=10, color=_GRAY)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False)


def _shares(medians: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Case → server → requests a second at c=32 as a share of the limit's."""
    measure = f"{MANY.key}.per_second"
    shares: dict[str, dict[str, float]] = {}
    for case, servers in medians.items():
        limit = servers.get("limit", {}).get(measure)
        for server in ("slipway", "mlflow"):
            if limit and measure in servers.get(server, {}):
                shares.setdefault(case, {})[server] = servers[server][measure] / limit
    return shares


def _dots(axes: Axes, shares: dict[str, dict[str, float]], titles: dict[str, str]) -> None:
    cases = list(shares)
    for server, title, color, below in (
        ("slipway", "Slipway", _COLORS["slipway"], False),
        ("mlflow", "MLflow", _PEER, True),
    ):
        places = [i for i, case in enumerate(cases) if server in shares[case]]
        values = [shares[cases[i]][server] for i in places]
        axes.scatter(places, values, s=70, color=color, label=title, zorder=3)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{value:.3f}" if value < 0.1 else f"{value:.2f}",
                (place, value),
                textcoords="offset points",
                xytext=(9, -9 if below else 3),
                fontsize=10,
                color=color,
            )
    axes.axhline(0.6, color=_GOAL, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(cases)), [titles[case].replace(", ", ",\n") for case in cases])
    top = max((share for found in shares.values() for share in found.values()), default=1.0)
    axes.set_ylim(-0.12, max(1.1, 1.15 * top))
    axes.set_xlim(-0.5, len(cases) - 0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False, ncols=2)
