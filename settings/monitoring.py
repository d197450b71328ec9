"""What is measured and who is told: Prometheus, the objectives of a model, alerts, and Grafana."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.exposure import Exposure
from settings.faults import fault
from settings.promql import Promql
from settings.rollout import LatencyBound
from settings.types import (
    AlertName,
    Duration,
    HttpUrl,
    LabelKey,
    LabelValue,
    Memory,
    ModelName,
    NamespaceName,
    Objective,
    ReceiverName,
    Section,
    SlackChannel,
    StuckDuration,
    Text,
    Url,
)

# The alerts that are built in (components/manifests/alert_rules.py).
BUILT_IN = frozenset(
    {
        "AlertsNotDelivered",
        "ModelAtMaxReplicas",
        "ModelAvailabilityBurningFast",
        "ModelAvailabilityBurningSlowly",
        "ModelCanaryStuck",
        "ModelInputsDrifting",
        "ModelLatencyBurningFast",
        "ModelLatencyBurningSlowly",
        "ModelNotWaking",
        "ModelServerDown",
        "ModelServerRestarting",
        "ModelTrafficStopped",
        "PlatformDown",
        "RuleEvaluationFailing",
        "TargetMissing",
        "VolumeNearlyFull",
    }
)


class Prometheus(Exposure):
    """Prometheus; `size` is that of the volume with its data, the oldest of which makes room for
    the newest.
    """

    size: Memory = "4Gi"
    retention: Duration = Field(
        default="30d", description="how long data is kept, where the volume has room for it"
    )
    verify_kubelets: bool = Field(
        default=True,
        description="false where the kubelets' certificates are not of the cluster's authority",
    )


class Operator(Section):
    """The Prometheus operator of a cluster that has one, with `monitoring: operator`."""

    labels: dict[LabelKey, LabelValue] = Field(
        default={"release": "kube-prometheus-stack"},
        description="by which the operator selects monitors and rules",
    )
    namespace: NamespaceName = Field(default="monitoring", description="where its Prometheus runs")
    url: Url | None = Field(
        default=None, description="of its Prometheus for pods; absent: that of prometheus"
    )


class Grafana(Exposure):
    """Grafana with the dashboards of this stack, behind a password."""

    enabled: bool = False


class LatencyObjective(Section):
    """`percent` of the predictions are ready within `threshold`."""

    threshold: LatencyBound = Field(default="1s", description="a bound of the latency buckets")
    percent: Objective = 99.0


class Objectives(Section):
    """What the users of a model may expect, over 30 days: `availability` percent of the requests
    are not failed by the gateway or a server (no status of 500 or more), and are answered in time.
    """

    availability: Objective = 99.5
    latency: LatencyObjective = LatencyObjective()


class Receiver(Section):
    """Who is told. The URL of a webhook may stand here; that of Slack and the key of PagerDuty
    are secrets: `pulumi config set --secret --path 'slipway:alertSecrets.<name>' <value>`.
    """

    kind: Literal["webhook", "slack", "pagerduty"]
    url: HttpUrl | None = Field(default=None, description="of a webhook, if it is no secret")
    channel: SlackChannel | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Receiver:
        for key, value, kind in (("url", self.url, "webhook"), ("channel", self.channel, "slack")):
            if value is not None and self.kind != kind:
                raise fault(
                    key,
                    value,
                    f"belongs to a receiver of kind {kind}; this one is of kind {self.kind}",
                )
        if self.kind == "slack" and self.channel is None:
            raise fault("kind", "slack", "needs a channel beside it")
        return self

    @property
    def secret(self) -> bool:
        """Whether where it is reached stands in `slipway:alertSecrets`."""
        return self.url is None


class AlertRoute(Section):
    """The alerts of a `severity`, or of `models`, or both, go to `receiver`."""

    receiver: ReceiverName
    severity: Literal["critical", "warning"] | None = None
    models: list[ModelName] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_some(self) -> AlertRoute:
        if self.severity is None and not self.models:
            raise fault(
                "receiver",
                self.receiver,
                "would take every alert; it needs a severity or models beside it",
            )
        return self


class AlertRule(Section):
    """An alert of the user's own: fires when `promql` gives anything for as long as `after`."""

    name: AlertName
    promql: Promql
    after: Duration = "5m"
    severity: Literal["critical", "warning"] = "warning"
    summary: Text
    runbook: HttpUrl | None = None


class Alerts(Section):
    """Who is told of what: a route that fits comes first, else `default`. Without receivers
    Alertmanager shows alerts and tells nobody.
    """

    receivers: dict[ReceiverName, Receiver] = Field(default_factory=dict)
    default: ReceiverName | None = None
    routes: list[AlertRoute] = Field(default_factory=list)
    group_wait: Duration = "30s"
    group_interval: Duration = "5m"
    repeat: Duration = "4h"
    canary_stuck: StuckDuration = Field(
        default="24h", description="how long a canary may keep its weight, where nothing is sticky"
    )
    runbooks: HttpUrl | None = Field(
        default=None, description="where docs/runbooks is published; absent: named as files"
    )
    rules: list[AlertRule] = Field(default_factory=list)

    @model_validator(mode="after")
    def _known_receivers(self) -> Alerts:
        known = ", ".join(self.receivers) or "none"
        named = [("default", self.default)] if self.default else []
        named += [(f"routes[{i}].receiver", route.receiver) for i, route in enumerate(self.routes)]
        for key, name in named:
            if name not in self.receivers:
                raise fault(key, name, f"is no receiver (there: {known})")
        if self.receivers and self.default is None:
            raise fault(
                "default",
                None,
                f"is not set; it takes the receiver of what no route fits ({known})",
            )
        for number, rule in enumerate(self.rules):
            if rule.name in BUILT_IN:
                raise fault(
                    f"rules[{number}].name",
                    rule.name,
                    "is the name of an alert that every stack has; take another",
                )
        return self

    @field_validator("rules")
    @classmethod
    def _named_once(cls, value: list[AlertRule]) -> list[AlertRule]:
        names = [rule.name for rule in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("slipway", f"has two rules called {twice[0]}")
        return value
