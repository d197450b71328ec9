"""The parts of a dashboard: series, panels, tables, sections, and their places on the grid.

Panels are built with Grafana's Foundation SDK. Every one has a title, a description, a unit and a
data source that the reader of the dashboard may choose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as queries

COLUMNS = 24
HEIGHT = 8
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# All jobs are scraped every 15 s but that of the pods, which the data source's own interval is of.
# Grafana takes rates over four intervals of the query. `up` without labels is of every job.
SLOW = "15s"
_SLOW_SERIES = re.compile(
    r"\b(alertmanager|container|keda|kube|kubelet|prometheus|slipway)_\w"
    r"|\b(up|scrape_duration_seconds)\b(?!\{)"
)

_TABLE = queries.PromQueryFormat.TABLE

Builder: TypeAlias = timeseries.Panel | stat.Panel | table.Panel
Steps: TypeAlias = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Series:
    """One PromQL, and the name of each line it gives, as in `v{{model_version}}`.

    `dashed` is for what a line is held against.
    """

    promql: str
    legend: str
    dashed: bool = False


@dataclass(frozen=True)
class Column:
    """One PromQL, and the column of a table that its values fill. `steps`: see `graph`."""

    name: str
    promql: str
    unit: str
    steps: Steps = ()


@dataclass(frozen=True)
class Box:
    """A panel and its size, of 24 columns and in units of about 30 pixels."""

    panel: Builder
    width: int
    height: int


@dataclass(frozen=True)
class Section:
    """A row of the dashboard with a title, and the panels below it. A `collapsed` one asks for
    nothing until it is opened.
    """

    title: str
    boxes: Sequence[Box]
    collapsed: bool = False


def graph(
    title: str,
    description: str,
    unit: str,
    *series: Series,
    steps: Steps = (),
    top: float | None = None,
    width: int = 8,
) -> Box:
    """Lines over time, on an axis that shows 0.

    unit: an identifier of Grafana's, as in `percentunit`. steps: values from which on a colour
    holds, green below the first; each is a line across the graph. top: the end of the axis; None:
    as the data has it.
    """
    panel = timeseries.Panel().line_width(1).fill_opacity(8).show_points(common.VisibilityMode.AUTO)
    panel = panel.legend(
        parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel = panel.tooltip(
        parts.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel = panel.title(title).description(description).unit(unit).datasource(DATASOURCE)
    panel = panel.axis_soft_min(0)
    if top is not None:
        panel = panel.max(top)
    panel = panel.thresholds(_thresholds(steps))
    if steps:
        style = parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    for number, one in enumerate(series):
        query = _query(one.promql, number).range().legend_format(one.legend)
        panel = panel.with_target(query)
        if one.dashed:
            panel = panel.override_by_query(_ref(number), _dashed())
    return Box(panel, width, HEIGHT)


def number(
    title: str, description: str, unit: str, promql: str, *, steps: Steps, width: int = 4
) -> Box:
    """One number, the latest, in the colour of the last of `steps` that it reaches."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(DATASOURCE)
    panel = panel.reduce_options(
        parts.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    )
    panel = panel.graph_mode(common.BigValueGraphMode.AREA)
    panel = panel.color_mode(common.BigValueColorMode.VALUE).thresholds(_thresholds(steps))
    panel = panel.with_target(_query(promql, 0).range().legend_format(title))
    return Box(panel, width, HEIGHT // 2)


def grid(
    title: str,
    description: str,
    key: str,
    label: str,
    columns: Sequence[Column],
    *,
    link: str | None = None,
    width: int = COLUMNS,
    height: int = HEIGHT,
) -> Box:
    """A table with a row for each value of the label `key`, which its first column, `label`, holds.

    link: where a click on that first column leads.
    """
    panel = table.Panel().title(title).description(description).datasource(DATASOURCE)
    panel = panel.unit(columns[0].unit).thresholds(_thresholds(())).show_header(True)
    for at, column in enumerate(columns):
        query = _query(column.promql, at).instant().format(_TABLE)
        panel = panel.with_target(query)
    names = {key: label} | {f"Value #{_ref(i)}": c.name for i, c in enumerate(columns)}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(_organize({"Time": True}, list(names), names))
    for column in columns:
        properties = [model.DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.steps:
            properties += _coloured(column.steps)
        panel = panel.override_by_name(column.name, properties)
    if link:
        target = {"title": "Open", "url": link}
        panel = panel.override_by_name(
            label, [model.DynamicConfigValue(id_val="links", value=[target])]
        )
    return Box(panel, width, height)


def listing(
    title: str, description: str, promql: str, names: dict[str, str], *, width: int = COLUMNS
) -> Box:
    """A table with a row for each series that there is, and a column for each label in `names`,
    which gives its title.
    """
    panel = table.Panel().title(title).description(description).unit("none")
    panel = panel.datasource(DATASOURCE).thresholds(_thresholds(())).show_header(True)
    panel = panel.with_target(_query(promql, 0).instant().format(_TABLE))
    panel = panel.with_transformation(
        _organize({"Time": True, "Value": True}, list(names), names)
    ).no_value("none")
    return Box(panel, width, HEIGHT)


def add(board: build.Dashboard, sections: Sequence[Section]) -> build.Dashboard:
    """The dashboard with these sections, one below the other, lines of panels in each filled from
    the left.
    """
    y, ids = 0, iter(range(1, 10_000))
    for section in sections:
        row = build.Row(section.title).id(next(ids)).collapsed(section.collapsed)
        row = row.grid_pos(model.GridPos(h=1, w=COLUMNS, x=0, y=y))
        placed, bottom = _placed(section.boxes, y + 1)
        for panel in placed:
            panel.id(next(ids))
            if section.collapsed:
                row = row.with_panel(panel)
        board = board.with_row(row)
        for panel in () if section.collapsed else placed:
            board = board.with_panel(panel)
        # A collapsed row takes one line; opening it pushes down what is below.
        y = y + 1 if section.collapsed else bottom
    return board


def _placed(boxes: Sequence[Box], y: int) -> tuple[list[Builder], int]:
    placed: list[Builder] = []
    x = height = 0
    for box in boxes:
        if x + box.width > COLUMNS:
            x, y, height = 0, y + height, 0
        at = model.GridPos(h=box.height, w=box.width, x=x, y=y)
        placed.append(box.panel.grid_pos(at))
        x, height = x + box.width, max(height, box.height)
    return placed, y + height


def _ref(number: int) -> str:
    return chr(ord("A") + number)


def _query(promql: str, number: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(promql).ref_id(_ref(number))
    query = query.datasource(DATASOURCE).editor_mode(queries.QueryEditorMode.CODE)
    return query.interval(SLOW) if _SLOW_SERIES.search(promql) else query


def _thresholds(steps: Steps) -> build.ThresholdsConfig:
    # None is Grafana's way to write minus infinity, which the first step must start from.
    from_least = steps if steps and steps[0][0] == -inf else ((-inf, "green"), *steps)
    found = [
        model.Threshold(value=None if value == -inf else value, color=color)
        for value, color in from_least
    ]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _dashed() -> list[model.DynamicConfigValue]:
    style = {"fill": "dash", "dash": [6, 6]}
    return [
        model.DynamicConfigValue(id_val="custom.lineStyle", value=style),
        model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
    ]


def _coloured(steps: Steps) -> list[model.DynamicConfigValue]:
    return [
        model.DynamicConfigValue(id_val="thresholds", value=_thresholds(steps).build()),
        model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def _organize(
    hidden: dict[str, bool], order: Sequence[str], names: dict[str, str]
) -> model.DataTransformerConfig:
    places = {name: place for place, name in enumerate(order)}
    options = {"excludeByName": hidden, "indexByName": places, "renameByName": names}
    return model.DataTransformerConfig(id_val="organize", options=options)
