"""The alerts: what fires, how urgent it is, and which page of docs/runbooks says what to do.

Templates stand in summaries alone, so that a description reads the same wherever it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from settings.model import Model
from settings.monitoring import AlertRule, Alerts
from settings.types import duration_seconds

from . import activator
from .alert_texts import TEXTS
from .common import Manifest
from .istio import INGRESS_NAMESPACE

# The scrape jobs without which something here would be blind, and those that may be there.
JOBS = ("alertmanager", "kube-state-metrics", "kubelet", "pods", "prometheus")
OPTIONAL_JOBS = ("cadvisor", "keda")

# A burn rate is a share, and of three requests one is a third. This many must have failed, or have
# been slow, in the short window too.
LEAST_BAD = 5

_SERVERS = 'namespace="models"'
_PLATFORM = f'namespace=~"{INGRESS_NAMESPACE}|mlflow|monitoring"'
_ACTIVATOR = f'{_SERVERS}, deployment="{activator.NAME}"'
_VOLUMES = f'namespace=~"{INGRESS_NAMESPACE}|mlflow|models|monitoring"'
_OF_SERVER = "(.+)-v([0-9]+)"
_OF_POD = f"{_OF_SERVER}-[0-9a-z]+-[0-9a-z]+"
_ASKED = "model:gateway_requests:increase5m"
_WEIGHT = "model_version:route_weight:percent"
_ROUTED = f"on (model_name, model_version) {_WEIGHT} > 0"
_BAD = {
    "availability": "model:gateway_failures:increase5m",
    "latency": "model:slow_predictions:increase5m",
}

# (long window, short window, times too fast). At once a budget of 30 days would be spent within
# about two or five days, within ten, within thirty. Source: The Site Reliability Workbook, chapter
# 5, table 5-8.
_FAST = (("1h", "5m", 14.4), ("6h", "30m", 6))
_SLOW = (("1d", "2h", 3), ("3d", "6h", 1))

_LONGEST = 100 * 365 * 86400  # seconds; Prometheus counts in 64 bits of nanoseconds

# Functions of Prometheus' templates that take a number; the only ones a summary may use. Behind a
# brace a template begins one character early.
_TEMPLATE = re.compile(
    r"(?<!\{)\{\{ *\$"
    r"(?:labels\.[A-Za-z_]\w*|value(?: *\| *humanize(?:1024|Duration|Percentage)?)?) *\}\}"
)

RUNBOOKS: Mapping[str, str] = {
    name: re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() + ".md" for name in TEXTS
}


def groups(models: Mapping[str, Model], alerts: Alerts, jobs: Sequence[str]) -> list[Manifest]:
    """The groups of alerts: of models, of the platform, and the user's own, if there are any."""
    of_models = [
        _alert("ModelAvailabilityBurningFast", "critical", _burning("availability", _FAST), "2m"),
        _alert("ModelAvailabilityBurningSlowly", "warning", _burning("availability", _SLOW), "15m"),
        _alert("ModelLatencyBurningFast", "critical", _burning("latency", _FAST), "2m"),
        _alert("ModelLatencyBurningSlowly", "warning", _burning("latency", _SLOW), "15m"),
        # A new version may take two minutes to be fetched, and two to start.
        _alert("ModelServerDown", "critical", f"{_server_down()} and {_ROUTED}", "5m"),
        _alert("ModelServerDown", "warning", f"{_server_down()} unless {_ROUTED}", "5m"),
        _alert("ModelServerRestarting", "warning", _restarting()),
        *([_alert("ModelNotWaking", "critical", _not_waking())] if _sleepers(models) else []),
        _alert("ModelCanaryStuck", "warning", _canary_stuck(models, alerts)),
        _alert("ModelAtMaxReplicas", "warning", _at_max(), "15m"),
        _alert("ModelTrafficStopped", "warning", _traffic_stopped(models), "5m"),
        _alert("ModelInputsDrifting", "warning", "model_version_feature:drift:psi > 0.2", "30m"),
    ]
    of_platform = [
        _alert("PlatformDown", "critical", _platform_down(models), "3m"),
        _alert("VolumeNearlyFull", "critical", _volume(), "10m"),
        _alert("TargetMissing", "warning", _missing(jobs), "5m"),
        _alert("RuleEvaluationFailing", "critical", _rules_failing(), "5m"),
        _alert("AlertsNotDelivered", "critical", _not_delivered(), "5m"),
    ]
    for rule in of_models + of_platform:
        rule["annotations"]["runbook_url"] = runbook_url(rule["alert"], alerts)
    found: list[Manifest] = [
        {"name": "slipway-models", "rules": of_models},
        {"name": "slipway-platform", "rules": of_platform},
    ]
    if alerts.rules:
        found.append({"name": "slipway-own", "rules": [_own(rule) for rule in alerts.rules]})
    return found


def runbook_url(alert: str, alerts: Alerts) -> str:
    """Where the alert's page is read: at `alerts.runbooks`, or a file of this project."""
    return f"{(alerts.runbooks or 'docs/runbooks').rstrip('/')}/{RUNBOOKS[alert]}"


def duration(text: str) -> str:
    """A time as Prometheus takes it, without a fraction and below a century: `5400000ms` for
    `1.5h`.
    """
    seconds = min(duration_seconds(text), _LONGEST)
    exact = "." not in text and seconds < _LONGEST
    return text if exact else f"{max(1, round(seconds * 1000))}ms"


def _burning(kind: str, pairs: Sequence[tuple[str, str, float]]) -> str:
    return " or ".join(f"({_pair(kind, *pair)})" for pair in pairs)


def _pair(kind: str, long: str, short: str, factor: float) -> str:
    """The long window says that it matters, the short one that it goes on."""
    limit = f"on (model_name) {factor:g} * (1 - model:{kind}_objective:ratio)"
    bad = _BAD[kind] if short == "5m" else f"sum_over_time({_BAD[kind]}[{short}:5m])"
    return (
        f"model:{kind}_errors:ratio_rate{long} > {limit} "
        f"and on (model_name) model:{kind}_errors:ratio_rate{short} > {limit} "
        f"and on (model_name) {bad} >= {LEAST_BAD}"
    )


def _server_down() -> str:
    servers = f'{_SERVERS}, deployment=~"{_OF_SERVER}"'  # not the comparers
    return _named(_none_available(servers), "deployment", _OF_SERVER)


def _sleepers(models: Mapping[str, Model]) -> list[str]:
    """The models that may scale to zero."""
    return sorted(name for name, model in models.items() if model.scaling.to_zero)


def _platform_down(models: Mapping[str, Model]) -> str:
    down = _none_available(_PLATFORM)
    if not _sleepers(models):
        return down
    return f"{down} or {_none_available(_ACTIVATOR)}"


def _none_available(only: str) -> str:
    """The Deployments that want pods and have none that is ready: how many they want."""
    by = "max by (namespace, deployment)"
    return (
        f"{by} (kube_deployment_spec_replicas{{{only}}}) > 0 "
        f"and {by} (kube_deployment_status_replicas_available{{{only}}}) == 0"
    )


def _restarting() -> str:
    only = f'{{{_SERVERS}, pod=~"{_OF_POD}"}}'
    restarts = f"increase(kube_pod_container_status_restarts_total{only}[15m])"
    return f"sum by (model_name, model_version) ({_named(restarts, 'pod', _OF_POD)}) >= 2"


def _not_waking() -> str:
    """Requests that the activator answered itself, for want of a server within `cold_start`.

    Nobody else tells of a version that hardly anybody asks for: once the requests are over, its
    Deployment wants no pod any more.
    """
    expired = 'increase(activator_requests_total{result="expired"}[15m])'
    return f"sum by (model_name, model_version) ({expired}) > 0"


def _canary_stuck(models: Mapping[str, Model], alerts: Alerts) -> str:
    """An A/B test keeps its weight on purpose, and it is sticky."""
    time = duration(alerts.canary_stuck)
    tests = "|".join(sorted(name for name, model in models.items() if model.sticky))
    weight = f'{_WEIGHT}{{model_name!~"{tests}"}}' if tests else _WEIGHT
    return (
        f"min by (model_name) ({weight} > 0 < 100 "
        f"and max_over_time({_WEIGHT}[{time}]) == min_over_time({_WEIGHT}[{time}]) "
        # It was there that long ago: seen in the hour before, so that a short gap hides nothing.
        f"and last_over_time({_WEIGHT}[1h] offset {time}))"
    )


def _at_max() -> str:
    """Where min is max, there is nothing to be told."""
    by = "max by (namespace, horizontalpodautoscaler)"
    metric = "kube_horizontalpodautoscaler"
    return _named(
        f"{by} ({metric}_status_current_replicas{{{_SERVERS}}}) "
        f">= {by} ({metric}_spec_max_replicas{{{_SERVERS}}}) "
        f"> {by} ({metric}_spec_min_replicas{{{_SERVERS}}})",
        "horizontalpodautoscaler",
        f"(?:keda-hpa-)?{_OF_SERVER}",
    )


def _traffic_stopped(models: Mapping[str, Model]) -> str:
    """Hours of the last six with requests, of models that have none now.

    With 600 requests a pause of ten minutes is no accident, but for a model that may scale to zero,
    whose pauses are what it does that for. A model that is not in the configuration has no
    objective.
    """
    paused = "|".join(_sleepers(models))
    watched = "model:availability_objective:ratio"
    watched += f'{{model_name!~"{paused}"}}' if paused else ""
    hours = f"count_over_time(({_ASKED} > 0)[6h:5m]) * 5 / 60"
    many = f"sum_over_time({_ASKED}[6h:5m]) >= 600"
    silent = f"({watched} unless on (model_name) {_ASKED} > 0)"
    return f"{hours} >= 3 and on (model_name) {many} and on (model_name) {silent}"


def _volume() -> str:
    by = "min by (namespace, persistentvolumeclaim)"
    available = f"kubelet_volume_stats_available_bytes{{{_VOLUMES}}}"
    free = f"{by} ({available}) / {by} (kubelet_volume_stats_capacity_bytes{{{_VOLUMES}}})"
    in_four_hours = f"{by} (predict_linear({available}[6h], 4 * 3600))"
    return f"{free} < 0.1 or ({free} < 0.4 and {in_four_hours} < 0)"


def _missing(jobs: Sequence[str]) -> str:
    down = [f'up{{job="{job}"}} == 0' for job in (*jobs, *OPTIONAL_JOBS)]
    gone = [f'absent(up{{job="{job}"}})' for job in jobs]
    return " or ".join(down + gone)


def _rules_failing() -> str:
    failures = (
        'increase(prometheus_rule_evaluation_failures_total{rule_group=~".*;slipway-.+"}[5m])'
    )
    group = f'label_replace({failures}, "rule_group", "$1", "rule_group", ".*;(.+)")'
    return f"sum by (rule_group) ({group}) > 0"


def _not_delivered() -> str:
    """What Alertmanager gave up, or Prometheus could not hand over for minutes: it tries again
    every minute, so that an Alertmanager that comes back in a moment has missed nothing.
    """
    return (
        "sum by (integration, reason) (increase(alertmanager_notifications_failed_total[15m])) > 0 "
        "or sum by (alertmanager) (increase(prometheus_notifications_dropped_total[3m])) > 0"
    )


def _named(vector: str, label: str, pattern: str) -> str:
    """`vector` with the model and version that its `label` names: `churn-v2` is both."""
    with_model = f'label_replace({vector}, "model_name", "$1", "{label}", "{pattern}")'
    return f'label_replace({with_model}, "model_version", "$2", "{label}", "{pattern}")'


def _alert(name: str, severity: str, expr: str, after: str | None = None) -> Manifest:
    summary, description = TEXTS[name]
    return {
        "alert": name,
        "expr": expr,
        **({"for": after} if after else {}),
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def _own(rule: AlertRule) -> Manifest:
    runbook = {"runbook_url": rule.runbook} if rule.runbook else {}
    return {
        "alert": rule.name,
        "expr": rule.promql,
        "for": duration(rule.after),
        "labels": {"severity": rule.severity},
        "annotations": {"summary": _harmless(rule.summary)} | runbook,
    }


def _harmless(text: str) -> str:
    """A summary in which only what is sure to be a template is one. Prometheus starts with none of
    its rules where one has a template that it cannot read.
    """
    literal = [part.replace("{{", '{{ "{{" }}') for part in _TEMPLATE.split(text)]
    templates = [*_TEMPLATE.findall(text), ""]
    return "".join(a + b for a, b in zip(literal, templates, strict=True))
