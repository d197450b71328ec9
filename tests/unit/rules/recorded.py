"""What the recording rules must give, from counters whose growth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .promtool import Recorded

# Sampled each 5s: nothing for three minutes, then so much in each sample.
_LATE = "0x35 {0}+{0}x60"

_UP = 'up{job="pods", namespace="istio-ingress", pod="gateway-1"}'


def _gateway(version: int, failed: bool = False, model: str = "churn") -> str:
    name = "rq" if failed else "rq_completed"
    code = ', response_code_class="5xx"' if failed else ""
    return (
        f'envoy_cluster_upstream_{name}{{namespace="istio-ingress", pod="gateway-1", '
        f'model_name="{model}", model_version="{version}"{code}}}'
    )


def _server(metric: str, version: int, more: str = "", model: str = "churn") -> str:
    return (
        f'{metric}{{namespace="models", pod="{model}-v{version}-1-1", model_name="{model}", '
        f'model_version="{version}"{more}}}'
    )


def _by_version(**values: float) -> dict[str, float]:
    """`v1=3` -> the label set of version 1 -> 3."""
    return {
        f'{{model_name="churn", model_version="{key[1:]}"}}': value for key, value in values.items()
    }


def _by_model(**values: float) -> dict[str, float]:
    return {f'{{model_name="{model}"}}': value for model, value in values.items()}


def recorded() -> list[Recorded]:
    """All that is tried."""
    return [
        _predictions(),
        _latency_and_size(),
        _at_the_gateway(),
        _first_values(),
        _weights(),
        _rising("windows up to 2h", 180, 5, ("5m", "30m", "1h", "2h")),
        _rising("windows up to 3d", 4320 + 1440, 60, ("5m", "6h", "1d", "3d")),
        _latency_of_users(),
        _budget(),
        _drift(),
    ]


def _predictions() -> Recorded:
    errors = "model_prediction_errors_total"
    return Recorded(
        "rates of predictions",
        ["slipway-traffic"],
        {
            _server("model_predictions_total", 1): _LATE.format(50),
            _server(errors, 1, ', error_type="model"'): "0x60",
            _server("model_predictions_total", 2): "0+10x60",
            _server(errors, 2, ', error_type="model"'): "0x35 1+1x60",
            _server(errors, 2, ', error_type="input"'): "0+1x60",
            _server("model_predictions_total", 3): "0+10x60",
            _server("model_predictions_total", 4): "7x60",
            _server(errors, 4, ', error_type="model"'): "3x60",
        },
        "4m",
        {
            "model_version:predictions:rate1m": _by_version(v1=10, v2=2, v3=2, v4=0),
            # Without errors it is 0, without a series of errors too; without predictions nothing.
            "model_version:prediction_errors:ratio_rate1m": _by_version(v1=0, v2=0.2, v3=0),
        },
        every="5s",
    )


def _latency_and_size() -> Recorded:
    buckets = "model_prediction_latency_seconds_bucket"
    size = "model_input_size_bytes"
    return Recorded(
        "latency and size",
        ["slipway-traffic"],
        {
            _server(buckets, 1, ', le="0.05"'): "0x59 50+50x20",
            _server(buckets, 1, ', le="0.1"'): "0+100x80",
            _server(buckets, 1, ', le="+Inf"'): "0+100x80",
            _server(buckets, 2, ', le="0.05"'): "8x80",
            _server(buckets, 2, ', le="+Inf"'): "9x80",
            _server(f"{size}_sum", 1): "0+4000x80",
            _server(f"{size}_count", 1): "0+10x80",
            _server(f"{size}_sum", 2): "4000x80",
            _server(f"{size}_count", 2): "10x80",
        },
        "6m",
        {
            "model_version:latency_seconds:p50_rate1m": _by_version(v1=0.05),
            "model_version:latency_seconds:p95_rate1m": _by_version(v1=0.095),
            "model_version:latency_seconds:p99_rate1m": _by_version(v1=0.099),
            "model_version:input_size_bytes:mean_rate5m": _by_version(v1=400),
        },
        every="5s",
    )


def _at_the_gateway() -> Recorded:
    return Recorded(
        "requests at the gateway",
        ["slipway-traffic"],
        {
            _UP: "1x60",
            _gateway(1): _LATE.format(45),
            _gateway(2): "0+5x60",
            _gateway(2, failed=True): _LATE.format(1),
            _gateway(3): "9x60",
            _gateway(1, model="fraud"): "9x60",
            # Requests for a comparer are nobody's.
            'envoy_cluster_upstream_rq_completed{namespace="istio-ingress", pod="gateway-1"}': (
                "0+99x60"
            ),
        },
        "4m",
        {
            "model_version:gateway_requests:rate1m": {
                **_by_version(v1=9, v2=1, v3=0),
                '{model_name="fraud", model_version="1"}': 0,
            },
            "model_version:gateway_failures:ratio_rate1m": _by_version(v1=0, v2=0.2),
            "model_version:traffic:share1m": _by_version(v1=0.9, v2=0.1, v3=0),
            "model:gateway_requests:rate1m": _by_model(churn=10, fraud=0),
        },
        every="5s",
    )


def _first_values() -> Recorded:
    """A counter that appears has gained all of its first value, if its pod was scraped before."""
    return Recorded(
        "counters that appear",
        ["slipway-traffic", "slipway-objectives"],
        {
            _UP: "1x120",
            _gateway(1): "0+5x120",
            # One scrape ago three failures, in the version's first minute.
            _gateway(1, failed=True): "_x119 3x1",
            _gateway(2): "_x119 6x1",
            # Gone for a while, and begun anew with 4; increase() adds what a window's edge hides.
            _gateway(3): "900x90 stale _x20 4x20",
            # Prometheus was away, of what was before it knows nothing.
            'up{job="pods", namespace="istio-ingress", pod="gateway-2"}': "_x119 1x1",
            _gateway(4).replace("gateway-1", "gateway-2"): "_x119 5000x1",
        },
        "10m",
        {
            "model_version:gateway_requests:rate1m": _by_version(v1=1, v2=0.1, v3=0.066667, v4=0),
            "model_version:gateway_failures:ratio_rate1m": _by_version(v1=0.05, v2=0, v3=0),
            "model:gateway_failures:increase5m": _by_model(churn=3),
            "model_version:gateway_requests:increase5m": _by_version(
                v1=300, v2=6, v3=4.067797, v4=0
            ),
        },
        every="5s",
    )


def _weights() -> Recorded:
    def weight(pod: str, version: int) -> str:
        return (
            f'slipway_route_weight{{job="kube-state-metrics", instance="{pod}", '
            f'namespace="models", model_name="churn", model_version="{version}"}}'
        )

    return Recorded(
        "weights, whichever pod tells them",
        ["slipway-traffic"],
        {weight("a", 1): "90x5 stale", weight("b", 1): "_x7 90x9", weight("b", 2): "_x7 10x9"},
        "3m",
        {"model_version:route_weight:percent": _by_version(v1=90, v2=10)},
    )


def _rising(name: str, minutes: int, step: int, windows: Sequence[str]) -> Recorded:
    """60 requests a minute, of which ever more fail, or are slow, from none to all, sampled each
    minute, or two, and looked at each `step` minutes. Another model has none.
    """
    sampled = 1 if minutes < 1000 else 2
    count = minutes // sampled + 1
    bad = [0.0]
    for number in range(1, count):
        bad.append(bad[-1] + 60 * sampled * number / count)
    total = [60.0 * sampled * number for number in range(count)]
    server = 'namespace="models", pod="churn-v1-1-1", model_name="churn", model_version="1"'
    latency = "model_prediction_latency_seconds"
    idle = {_gateway(3, model="fraud"): f"9x{count}", _gateway(3, True, "fraud"): f"4x{count}"}

    def values(counter: Sequence[float]) -> str:
        return " ".join(f"{value:.6f}" for value in counter)

    def share(minute: int) -> float:
        """Of the samples in five minutes, the first of which shows no gain."""
        last = minute // sampled
        first = last - (4 if sampled == 1 else 2)
        return (bad[last] - bad[first]) / (total[last] - total[first])

    def mean(window: str) -> float:
        length = {"m": 1, "h": 60, "d": 1440}[window[-1]] * int(window[:-1])
        looks = range(minutes, minutes - max(length, step), -step)
        return round(sum(map(share, looks)) / len(looks), 6)

    expected = {window: _by_model(churn=mean(window)) for window in windows}
    return Recorded(
        name,
        ["slipway-objectives"],
        {
            _UP: f"1x{count}",
            _gateway(1): values(total),
            _gateway(1, failed=True): values(bad),
            f"{latency}_count{{{server}}}": values(total),
            f'{latency}_bucket{{{server}, le="1.0"}}': values(
                [a - b for a, b in zip(total, bad, strict=True)]
            ),
            **idle,
        },
        f"{minutes}m",
        {
            f"model:{kind}_errors:ratio_rate{window}": value
            for kind in ("availability", "latency")
            for window, value in expected.items()
        }
        | {
            "model:availability_objective:ratio": _by_model(
                churn=0.995, fraud=0.999, nightly=0.995
            ),
            "model:latency_objective:ratio": _by_model(churn=0.99, fraud=0.95, nightly=0.99),
        },
        every=f"{sampled}m",
        evaluated=f"{step}m",
    )


def _latency_of_users() -> Recorded:
    """Each model has its own threshold, and a version that the gateway does not ask is a shadow."""
    buckets = "model_prediction_latency_seconds_bucket"
    count = "model_prediction_latency_seconds_count"
    series = {_UP: "1x60"}
    for model, version in (("churn", 1), ("fraud", 1)):
        series |= {
            _gateway(version, model=model): "0+10x60",
            _server(count, version, model=model): "0+100x60",
            _server(buckets, version, ', le="0.25"', model): "0+70x60",
            _server(buckets, version, ', le="1.0"', model): "0+90x60",
            # All of the shadow's are slow.
            _server(count, 2, model=model): "0+100x60",
            _server(buckets, 2, ', le="0.25"', model): "0x60",
            _server(buckets, 2, ', le="1.0"', model): "0x60",
        }
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    slow = _by_model(churn=0.1, fraud=0.3)
    return Recorded(
        "slow predictions",
        ["slipway-objectives"],
        series,
        "15m",
        {f"model:latency_errors:ratio_rate{window}": slow for window in windows},
        every="15s",
        evaluated="5m",
    )


def _budget() -> Recorded:
    """31 days by the hour: what failed before the last 30 is forgotten; since then 1 of 1000."""
    churn, fraud = '{model_name="churn"}', '{model_name="fraud"}'
    return Recorded(
        "budget",
        ["slipway-budget"],
        {
            f"model:availability_objective:ratio{churn}": "0.995x760",
            f"model:gateway_requests:increase5m{churn}": "1000x760",
            f"model:gateway_failures:increase5m{churn}": "1000x23 1x760",
            f"model:availability_objective:ratio{fraud}": "0.999x760",
            f"model:gateway_requests:increase5m{fraud}": "_x740 1000x20",
            f"model:gateway_failures:increase5m{fraud}": "_x740 3x20",
            'model:availability_objective:ratio{model_name="idle"}': "0.999x760",
            'model:gateway_requests:increase5m{model_name="idle"}': "0x760",
            'model:gateway_failures:increase5m{model_name="idle"}': "0x760",
        },
        "31d",
        {"model:availability_budget_remaining:ratio": _by_model(churn=0.8, fraud=-2)},
        every="1h",
        evaluated="1d",
    )


def _drift() -> Recorded:
    observed = "model_drift_observations_total"
    expected = "model_drift_expected_ratio"
    series: dict[str, str] = {}
    # Of 520, 480, and 520 observations in an hour, the last without one in bin 1.
    for feature, shares, hourly in (
        ("age", (0.7, 0.3), 520),
        ("few", (0.7, 0.3), 480),
        ("gap", (1.0,), 520),
    ):
        for number, part in enumerate(shares):
            more = f', feature="{feature}", bin="{number}"'
            series[_server(observed, 1, more)] = f"0+{part * hourly / 240:.8f}x300"
        for number, part in enumerate((0.4, 0.6)):
            more = f', feature="{feature}", bin="{number}"'
            series[_server(expected, 1, more)] = f"{part}x300"

    def psi(first: float, second: float) -> float:
        return round(
            (first - 0.4) * math.log(first / 0.4) + (second - 0.6) * math.log(second / 0.6), 6
        )

    def of(feature: str, more: str = "") -> str:
        return f'{{model_name="churn", model_version="1", feature="{feature}"{more}}}'

    return Recorded(
        "drift",
        ["slipway-drift"],
        series,
        "1h10m",
        {
            "model_version_feature:drift:psi": {
                of("age"): psi(0.7, 0.3),
                of("gap"): psi(1, 1e-4),
            },
            "model_version_feature_bin:drift_observed:share1h": {
                of("age", ', bin="0"'): 0.7,
                of("age", ', bin="1"'): 0.3,
                of("gap", ', bin="0"'): 1,
                of("gap", ', bin="1"'): 0,
            },
        },
        every="15s",
        evaluated="1m",
    )
