"""The recording rules: what panels, alerts and people ask Prometheus for, computed once.

Rates over 1m are for looking at. The objectives count in steps of 5m, which longer windows add up,
so that three days cost no more than the steps. A ratio is absent where nothing was asked.

Names: level:metric:operations, https://prometheus.io/docs/practices/rules/
"""

from __future__ import annotations

from collections.abc import Mapping

from settings.model import Model
from settings.types import duration_seconds

from .common import Manifest
from .istio import INGRESS_NAMESPACE

# The windows of the burn rates. Source: The Site Reliability Workbook, chapter 5, "Alerting on
# SLOs", multiwindow, multi-burn-rate alerts.
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
PERIOD = "30d"

# Chance alone makes an index of about (bins - 1) / observations: with the 20 bins that a feature
# may have, 0.04 of 500. An empty bin may not count without end; the floor is that of the comparer.
LEAST_OBSERVATIONS = 500
FLOOR = 1e-4

_VERSION = "by (model_name, model_version)"
_ARRIVED = 'envoy_cluster_upstream_rq_completed{model_version!=""}'
_FAILED = 'envoy_cluster_upstream_rq{model_version!="", response_code_class="5xx"}'
_LATENCY = "model_prediction_latency_seconds"
_REQUESTS = "model:gateway_requests:increase5m"
_FAILURES = "model:gateway_failures:increase5m"
_PREDICTIONS = "model:predictions:increase5m"
_SLOW = "model:slow_predictions:increase5m"
_ASKED = "model_version:gateway_requests:increase5m"


def groups(models: Mapping[str, Model]) -> list[Manifest]:
    """The groups of recording rules, in the order in which one builds on another."""
    by_name = sorted(models.items())
    return [
        {"name": "slipway-traffic", "rules": _traffic()},
        {
            "name": "slipway-objectives",
            "interval": "30s",
            "rules": [
                *(rule for name, model in by_name for rule in _objectives(name, model)),
                *_counts(),
                *(_slow_predictions(name, model) for name, model in by_name),
                *_ratios("availability", _FAILURES, _REQUESTS),
                *_ratios("latency", _SLOW, _PREDICTIONS),
            ],
        },
        {"name": "slipway-budget", "interval": "2m", "rules": [_budget()]},
        {"name": "slipway-drift", "interval": "1m", "rules": _drift()},
    ]


def names() -> list[str]:
    """The names of all series that are recorded, in the order of the alphabet."""
    found = groups({"any": Model(stable=1)})
    return sorted({rule["record"] for group in found for rule in group["rules"]})


def share(percent: float) -> str:
    """A percentage as a share, without the noise of floating point: `0.99999` for 99.999."""
    return f"{percent / 100:.10g}"


def _traffic() -> list[Manifest]:
    predictions = f"sum {_VERSION} (rate(model_predictions_total[1m]))"
    errors = f"sum {_VERSION} (rate(model_prediction_errors_total[1m]))"
    requests = "model_version:gateway_requests:rate1m"
    buckets = f"sum by (model_name, model_version, le) (rate({_LATENCY}_bucket[1m]))"
    sizes, received = (
        f"sum {_VERSION} (rate(model_input_size_bytes_{part}[5m]))" for part in ("sum", "count")
    )
    return [
        _rule("model_version:predictions:rate1m", predictions),
        _rule(
            "model_version:prediction_errors:ratio_rate1m",
            _ratio(errors, "model_version:predictions:rate1m"),
        ),
        *(
            # A quantile of nothing is not a number, and no number is at least 0.
            _rule(
                f"model_version:latency_seconds:p{percent}_rate1m",
                f"histogram_quantile(0.{percent}, {buckets}) >= 0",
            )
            for percent in (50, 95, 99)
        ),
        _rule(requests, f"sum {_VERSION} ({_gained(_ARRIVED, '1m')}) / 60"),
        _rule(
            "model_version:gateway_failures:ratio_rate1m",
            _ratio(f"sum {_VERSION} ({_gained(_FAILED, '1m')}) / 60", requests),
        ),
        _rule("model:gateway_requests:rate1m", f"sum by (model_name) ({requests})"),
        _rule(
            "model_version:traffic:share1m",
            f"{requests} / on (model_name) group_left () (model:gateway_requests:rate1m > 0)",
        ),
        _rule("model_version:input_size_bytes:mean_rate5m", f"{sizes} / ({received} > 0)"),
        # Without the labels of the pod that tells it, which come and go with that pod.
        _rule("model_version:route_weight:percent", f"max {_VERSION} (slipway_route_weight)"),
    ]


def _objectives(name: str, model: Model) -> list[Manifest]:
    shares = {
        "availability": share(model.objectives.availability),
        "latency": share(model.objectives.latency.percent),
    }
    return [
        _rule(f"model:{kind}_objective:ratio", f"vector({value})", model_name=name)
        for kind, value in shares.items()
    ]


def _counts() -> list[Manifest]:
    predictions = f"sum {_VERSION} (increase({_LATENCY}_count[5m]))"
    return [
        _rule(_ASKED, f"sum {_VERSION} ({_gained(_ARRIVED, '5m')})"),
        _rule(_REQUESTS, f"sum by (model_name) ({_ASKED})"),
        _rule(_FAILURES, f"sum by (model_name) ({_gained(_FAILED, '5m')}) or {_REQUESTS} * 0"),
        _rule(_PREDICTIONS, f"sum by (model_name) ({_for_users(predictions)})"),
    ]


def _slow_predictions(name: str, model: Model) -> Manifest:
    """Those that were not ready within the model's threshold, which is a bound of the buckets and
    written as Prometheus 3 does: `1.0`.
    """
    bound = repr(duration_seconds(model.objectives.latency.threshold))
    of = f'model_name="{name}"'
    everything = f"sum {_VERSION} (increase({_LATENCY}_count{{{of}}}[5m]))"
    quick = f'sum {_VERSION} (increase({_LATENCY}_bucket{{{of}, le="{bound}"}}[5m]))'
    slow = f"clamp_min({everything} - {quick}, 0)"
    return _rule(_SLOW, f"sum ({_for_users(slow)})", model_name=name)


def _for_users(predictions: str) -> str:
    """Those of versions that the gateway asked. Nobody waits for the answers of a shadow."""
    return f"{predictions} and on (model_name, model_version) ({_ASKED} > 0)"


def _ratios(kind: str, bad: str, everything: str) -> list[Manifest]:
    return [
        _rule(
            f"model:{kind}_errors:ratio_rate{window}",
            f"{bad} / ({everything} > 0)"
            if window == "5m"
            else f"sum_over_time({bad}[{window}]) / (sum_over_time({everything}[{window}]) > 0)",
        )
        for window in WINDOWS
    ]


def _budget() -> Manifest:
    """1 where nothing failed, 0 where as much failed as may, less where more did."""
    failed = f"sum_over_time({_FAILURES}[{PERIOD}]) / (sum_over_time({_REQUESTS}[{PERIOD}]) > 0)"
    allowed = "(1 - model:availability_objective:ratio)"
    return _rule(
        "model:availability_budget_remaining:ratio", f"1 - ({failed}) / on (model_name) {allowed}"
    )


def _drift() -> list[Manifest]:
    """With p the share of what was observed in a bin and q that of the training data, the index
    is the sum of (p - q) ln(p / q) over a feature's bins. Source: N. Siddiqi, Credit Risk
    Scorecards, Wiley 2006. Below 0.1 alike, above 0.2 changed.
    """
    feature = "model_name, model_version, feature"
    counted = "model_version_feature_bin:drift_observations:increase1m"
    observed = "model_version_feature_bin:drift_observed:share1h"
    expected = f"max by ({feature}, bin) (model_drift_expected_ratio)"
    total = f"sum by ({feature}) (sum_over_time({counted}[1h])) >= {LEAST_OBSERVATIONS}"
    p, q = f"clamp_min({observed}, {FLOOR})", f"clamp_min({expected}, {FLOOR})"
    return [
        _rule(counted, f"sum by ({feature}, bin) (increase(model_drift_observations_total[1m]))"),
        _rule(
            observed,
            f"(sum_over_time({counted}[1h]) or {expected} * 0) "
            f"/ on ({feature}) group_left () ({total})",
        ),
        _rule(
            "model_version_feature:drift:psi", f"sum by ({feature}) (({p} - {q}) * ln({p} / {q}))"
        ),
    ]


def _gained(counter: str, window: str) -> str:
    """What a gateway's `counter` gained in `window`.

    Envoy makes a counter when it first counts, and increase() takes no notice of that first value:
    one failure in each of ten gateways would be none. So the first value of a series that came
    within the window is added, if its pod had been scraped in the window without it. That test
    keeps out what Prometheus merely did not see while it was down.
    """
    scraped = (
        f'max by (namespace, pod) (sum_over_time(up{{namespace="{INGRESS_NAMESPACE}"}}[{window}]))'
    )
    new = (
        f"(min_over_time({counter}[{window}]) unless {counter} offset {window}) and "
        f"count_over_time({counter}[{window}]) < on (namespace, pod) group_left () {scraped}"
    )
    return f'increase({counter}[{window}]) or label_replace({new}, "part", "first", "", "")'


def _ratio(part: str, whole: str) -> str:
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def _rule(record: str, expr: str, **labels: str) -> Manifest:
    return {"record": record, "expr": expr, **({"labels": labels} if labels else {})}
