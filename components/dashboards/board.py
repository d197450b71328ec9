"""What the dashboards share: their frame, their variables, and the form they are written in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from .panels import DATASOURCE, Section, add

TAG = "slipway"
FOLDER = "Slipway"

# The namespaces of a stack, as `__main__.py` names them.
MODELS, REGISTRY, GATEWAY = "models", "mlflow", "istio-ingress"

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"

# Shares of failed requests from which on a line is yellow, and red.
FAILURES = ((0.001, YELLOW), (0.01, RED))
# An error budget is bad when it is used up, and pods when there are none.
BUDGET = ((-inf, RED), (0, YELLOW), (0.25, GREEN))
SERVING = ((-inf, RED), (1, GREEN))


def frame(uid: str, title: str, description: str) -> build.Dashboard:
    """An empty dashboard of the last hour that is asked anew every 30 s, with links to the others
    and a choice of the Prometheus it asks.
    """
    others = (
        build.DashboardLink("Slipway")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
    )
    source = build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(others)
        .with_variable(source)
    )


def choice(name: str, label: str, query: str, *, several: str | None = None) -> build.QueryVariable:
    """A variable whose values are those that `query`, a `label_values(…)`, gives now.

    several: None to have one value chosen; else a regular expression that all values fit, which
    `All` stands for.
    """
    variable = (
        build.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DATASOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NUMERICAL_ASC if several else model.VariableSort.ALPHABETICAL_ASC)
    )
    if several is None:
        return variable
    every = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(several).current(every)


def finished(board: build.Dashboard, sections: Sequence[Section]) -> dict[str, Any]:
    """The dashboard with its sections as plain data, the same for the same input."""
    plain: dict[str, Any] = json.loads(JSONEncoder().encode(add(board, sections).build()))
    return plain


def text(dashboard: dict[str, Any]) -> str:
    """The dashboard as the JSON that Grafana reads; equal dashboards give equal bytes."""
    return json.dumps(dashboard, indent=1, sort_keys=True) + "\n"
