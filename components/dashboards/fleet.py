"""The dashboard of all models: one row of a table for each, and a line for each in every graph."""

from __future__ import annotations

from typing import Any

from .board import BUDGET, FAILURES, RED, finished, frame
from .model import UID as MODEL_UID
from .panels import Box, Column, Section, Series, graph, grid, listing

UID = "slipway-fleet"

_NAME = "{{model_name}}"
_P95 = "max by (model_name) (model_version:latency_seconds:p95_rate1m)"
_PODS = 'sum by (model_name) (up{model_version!=""})'
_VERSIONS = 'group by (model_name, model_version) (up{model_version!=""})'
_BUDGET = "model:availability_budget_remaining:ratio"
# A model without an alert is a zero, not a gap.
_ALERTS = (
    'count by (model_name) (ALERTS{alertstate="firing",model_name!=""})'
    ' or on (model_name) (0 * group by (model_name) (up{model_version!=""}))'
)


def fleet_dashboard() -> dict[str, Any]:
    """The dashboard of all models, without variables but the data source."""
    board = frame(UID, "Slipway / Fleet", "All models: who needs a look.")
    sections = [
        Section("Models", [_models()]),
        Section("Alerts", _alerts()),
        Section("Over time", _over_time()),
    ]
    return finished(board, sections)


def _models() -> Box:
    return grid(
        "Models",
        "One row a model: requests at the gateway, the share of them that failed in 5 minutes, the "
        "p95 of the slowest version, what is left of the availability budget of 30 days, pods that "
        "Prometheus reaches, versions, alerts that fire. Red is bad. A name leads to its model.",
        "model_name",
        "Model",
        [
            Column("Requests/s", "model:gateway_requests:rate1m", "reqps"),
            Column("Failed", "model:availability_errors:ratio_rate5m", "percentunit", FAILURES),
            Column("Slowest p95", _P95, "s"),
            Column("Budget left", _BUDGET, "percentunit", BUDGET),
            Column("Pods", _PODS, "none"),
            Column(
                "Versions",
                f"count by (model_name) ({_VERSIONS})",
                "none",
            ),
            Column("Alerts", _ALERTS, "none", ((1, RED),)),
        ],
        link=f"/d/{MODEL_UID}?var-model=${{__value.raw}}&${{__url_time_range}}",
        height=10,
    )


def _alerts() -> list[Box]:
    return [
        graph(
            "Alerts that fire",
            "How many alerts fire, critical and others, those of the platform included; any "
            "critical one is bad.",
            "none",
            Series(
                'count(ALERTS{alertstate="firing",severity="critical"}) or vector(0)', "critical"
            ),
            Series(
                'count(ALERTS{alertstate="firing",severity!="critical"}) or vector(0)', "others"
            ),
        ),
        listing(
            "Firing now",
            "The alerts that fire now; an empty table is good.",
            'ALERTS{alertstate="firing"}',
            {
                "alertname": "Alert",
                "severity": "Severity",
                "model_name": "Model",
                "model_version": "Version",
                "namespace": "Namespace",
            },
            width=16,
        ),
    ]


def _over_time() -> list[Box]:
    return [
        graph(
            "Requests",
            "Requests a second at the gateway, by model; a sudden fall to 0 is bad.",
            "reqps",
            Series("model:gateway_requests:rate1m", _NAME),
        ),
        graph(
            "Failures",
            "The share of the requests of 5 minutes that failed, by model; above 1 % is bad.",
            "percentunit",
            Series("model:availability_errors:ratio_rate5m", _NAME),
            steps=FAILURES,
        ),
        graph(
            "Slowest p95",
            "The p95 of the slowest version of each model; above the model's threshold is bad.",
            "s",
            Series(_P95, _NAME),
        ),
        graph(
            "Budget left",
            "What is left of each model's availability budget of 30 days; 0 or less is bad.",
            "percentunit",
            Series(_BUDGET, _NAME),
            top=1,
        ),
        graph(
            "Pods",
            "Pods of each model that Prometheus reaches; a fall without fewer requests is bad.",
            "none",
            Series(_PODS, _NAME),
        ),
        graph(
            "Alerts",
            "Alerts of each model that fire; any is bad.",
            "none",
            Series(_ALERTS, _NAME),
            steps=((1, RED),),
        ),
    ]
