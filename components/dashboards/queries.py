"""What a dashboard asks Prometheus, query by query, with Grafana's variables filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .panels import SLOW

Needs = Literal["gpu", "keda", "shadow", "profile", "zero", "step", "alert"]

# What Grafana fills in by itself, with values for the last hour. A rate is taken over four times
# the least interval of the query, or of the data source.
BUILT_IN = {"__interval": "15s", "__range": "1h", "__range_s": "3600"}
_RATE_INTERVALS = {"": "20s", SLOW: "1m"}

# The start of a metric's name -> what must be there, or must have happened, for it to have data.
_NEEDED: tuple[tuple[str, Needs], ...] = (
    ("DCGM_", "gpu"),
    ("keda_", "keda"),
    ("activator_", "zero"),
    ("model_comparison", "shadow"),
    ("model_disagreement", "shadow"),
    ("model_prediction_psi", "shadow"),
    ("model_version_feature:drift", "profile"),
    ("model_drift_", "profile"),
)
REASONS: dict[Needs, str] = {
    "gpu": "a GPU, and NVIDIA's DCGM exporter",
    "keda": "a model that scales by requests_per_second, and so KEDA",
    "shadow": "a model with a shadow that has answered",
    "profile": "a version with a profile of its training data that has answered",
    "zero": "a model whose scaling.min is 0",
    "step": "a weight that changed within the window",
    "alert": "an alert that fires",
}


@dataclass(frozen=True)
class Query:
    """One PromQL that a dashboard sends.

    panel: the title of its panel, or the name of the annotation or variable. needs: what must be
    there for it to give data, one of REASONS, or None if a model that answers requests will do.
    """

    panel: str
    kind: Literal["panel", "annotation", "variable"]
    promql: str
    needs: Needs | None = None


def queries(dashboard: Mapping[str, Any], **values: str) -> list[Query]:
    """Every query of the dashboard's panels, annotations and variables, in their order.

    `values` are those of the dashboard's variables, and go before BUILT_IN's:
    `queries(model_dashboard(), model="churn", version="[0-9]+")`. A variable's `label_values`
    becomes the PromQL that gives its values. Raises `ValueError` for a variable without a value.
    """
    found = []
    for name, kind, promql, interval in _found(dashboard):
        known = BUILT_IN | {"__rate_interval": _RATE_INTERVALS[interval]} | values
        found.append(Query(name, kind, _filled(promql, known), _needs(kind, promql)))
    return found


def _found(
    dashboard: Mapping[str, Any],
) -> Iterator[tuple[str, Literal["panel", "annotation", "variable"], str, str]]:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], "variable", _label_values(variable["query"]), ""
    for annotation in dashboard["annotations"].get("list", []):
        target = annotation["target"]
        yield annotation["name"], "annotation", target["expr"], target["interval"]
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel["title"], "panel", target["expr"], target.get("interval", "")


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The dashboard's panels that show something, those of collapsed rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def _label_values(query: str) -> str:
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    if not match:
        raise ValueError(f"{query}: is not label_values(<selector>, <label>)")
    return f"group by ({match[2]}) ({match[1]})"


def _filled(promql: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise ValueError(f"{promql}: no value for variable {name}")
        return values[name]

    # `$1` is a group of label_replace, not a variable.
    return re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, promql)


def _needs(kind: str, promql: str) -> Needs | None:
    if kind == "annotation":
        return "step"
    for start, needs in _NEEDED:
        if re.search(rf"\b{start}", promql):
            return needs
    # Where alerts are counted, none of them is a zero.
    return "alert" if promql.startswith("ALERTS") else None
