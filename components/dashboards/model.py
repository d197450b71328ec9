"""The dashboard of one model: its versions side by side, the canary's lines beside stable's."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from .board import BUDGET, FAILURES, RED, SERVING, choice, finished, frame
from .model_requests import objectives, quality, traffic
from .model_series import MODEL, VERSION, WEIGHT, by_version
from .model_servers import inputs, pods, scaling, shadow, zero
from .panels import DATASOURCE, SLOW, Box, Column, Section, grid, number

UID = "slipway-model"


def model_dashboard() -> dict[str, Any]:
    """The dashboard of the model that variable `model` names, and of its versions in `version`."""
    board = frame(UID, "Slipway / Model", "One model: its versions side by side.")
    board = board.with_variable(
        choice("model", "Model", 'label_values(up{model_version!=""}, model_name)')
    )
    board = board.with_variable(
        choice(
            "version",
            "Version",
            f'label_values(up{{{MODEL},model_version!=""}}, model_version)',
            several="[0-9]+",
        )
    )
    board = board.annotation(_RolloutSteps())
    sections = [
        Section("Now", _now()),
        Section("Traffic", traffic()),
        Section("Errors and latency", quality()),
        Section("Objectives", objectives()),
        Section("Scaling", scaling()),
        Section("Scale to zero", zero()),
        Section("Pods", pods()),
        Section("Inputs and drift", inputs()),
        Section("Shadow", shadow()),
    ]
    return finished(board, sections)


class _WeightChange(model.AnnotationQuery):
    """An annotation with a text. What Prometheus' data source takes besides the fields that all
    have is not in the SDK's type.
    """

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {
            "target": {"expr": self.expr, "refId": "Anno", "interval": SLOW},
            "titleFormat": "weight of v{{model_version}} changed",
            "tagKeys": "model_version",
        }


class _RolloutSteps(Builder[model.AnnotationQuery]):
    """Marks where a weight changed, or came to be, each once: at the first point that knows of it.

    `$__interval` is the time from point to point. What changed within it `changes` counts; what
    changed on its edge, or is new, shows against the point before. A gap of up to 5 minutes is
    looked past, so that what comes back is not new.
    """

    def build(self) -> model.AnnotationQuery:
        weight = f"slipway_route_weight{{{VERSION}}}"
        within = f"max by (model_version) (changes({weight}[$__interval])) > 0"
        now = f"max by (model_version) ({weight})"
        before = f"max by (model_version) (last_over_time({weight}[5m] offset $__interval))"
        return _WeightChange(
            name="Rollout steps",
            datasource=DATASOURCE,
            icon_color="purple",
            # Grafana marks values above 0, and a weight may be 0.
            expr=f"group by (model_version) ({within} or ({now} unless ({now} == {before})))",
        )


def _now() -> list[Box]:
    rate, failures, p95, budget = (
        f"model:gateway_requests:rate1m{{{MODEL}}}",
        f"model:availability_errors:ratio_rate5m{{{MODEL}}}",
        f"max(model_version:latency_seconds:p95_rate1m{{{VERSION}}})",
        f"model:availability_budget_remaining:ratio{{{MODEL}}}",
    )
    ready = f"sum(up{{{VERSION}}})"
    alerts = f'count(ALERTS{{alertstate="firing",{MODEL}}}) or vector(0)'
    return [
        number(
            "Requests",
            "Requests a second at the gateway; none where there should be some is bad.",
            "reqps",
            rate,
            steps=(),
        ),
        number(
            "Failed",
            "Share of the requests of the last 5 minutes that were answered with a "
            "status of 500 or more; above 1 % is bad.",
            "percentunit",
            failures,
            steps=FAILURES,
        ),
        number(
            "Slowest p95",
            "95 % of the predictions of the slowest version are ready within "
            "this time; above the objective's threshold is bad.",
            "s",
            p95,
            steps=(),
        ),
        number(
            "Budget left",
            "What is left of the failures that the availability objective "
            "allows in 30 days; 0 or less is bad: the objective is missed.",
            "percentunit",
            budget,
            steps=BUDGET,
        ),
        number(
            "Pods",
            "Pods of the model that Prometheus reaches; fewer than the autoscaler's minimum is "
            "bad.",
            "none",
            ready,
            steps=SERVING,
        ),
        number(
            "Alerts",
            "Alerts of the model that fire; any is bad.",
            "none",
            alerts,
            steps=((1, RED),),
        ),
        grid(
            "Versions",
            "The versions side by side. A canary with more failures or a higher p95 than stable "
            "is bad, and so is a share of the traffic far from the weight.",
            "model_version",
            "Version",
            [
                Column("Weight", WEIGHT, "percentunit"),
                Column(
                    "Share of traffic", by_version("model_version:traffic:share1m"), "percentunit"
                ),
                Column("Requests/s", by_version("model_version:gateway_requests:rate1m"), "reqps"),
                Column(
                    "Failed",
                    by_version("model_version:gateway_failures:ratio_rate1m"),
                    "percentunit",
                    FAILURES,
                ),
                Column(
                    "Prediction errors",
                    by_version("model_version:prediction_errors:ratio_rate1m"),
                    "percentunit",
                    FAILURES,
                ),
                Column("p95", by_version("model_version:latency_seconds:p95_rate1m"), "s"),
                Column("Pods", f"sum by (model_version) (up{{{VERSION}}})", "none"),
            ],
            height=6,
        ),
    ]
