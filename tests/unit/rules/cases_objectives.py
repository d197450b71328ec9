"""The burn-rate alerts, just above and just below each of their limits."""

from __future__ import annotations

from collections.abc import Mapping

from .promtool import Case, Fired

# Kind -> what counts as bad, the objective, and how a summary ends.
_KINDS = {
    "Availability": ("gateway_failures", 0.995, "of the requests fail"),
    "Latency": ("slow_predictions", 0.99, "of the predictions are slower than the objective"),
}


def cases() -> list[Case]:
    """All cases of the four alerts."""
    return [case for kind in _KINDS for case in (*_fast(kind), *_slow(kind))] + _from_counters()


def _series(
    kind: str, limits: Mapping[str, tuple[float, str]], bad: str, length: int
) -> dict[str, str]:
    """`limits`: window -> the burn rate, in times of what the objective allows, and from when."""
    counted, objective, _ = _KINDS[kind]
    name, allowed = kind.lower(), 1 - objective
    of = '{model_name="churn"}'
    ratios = {
        f"model:{name}_errors:ratio_rate{window}{of}": f"{before}{rate * allowed:.8f}x{length}"
        for window, (rate, before) in limits.items()
    }
    return {
        **ratios,
        f"model:{name}_objective:ratio{of}": f"{objective}x{length}",
        f"model:{counted}:increase5m{of}": f"{bad}x{length}",
    }


def _fired(kind: str, rate: float) -> list[Fired]:
    _, objective, text = _KINDS[kind]
    percent = f"{rate * (1 - objective) * 100:.4g}%"
    return [({"model_name": "churn"}, f"churn: {percent} {text}")]


def _fast(kind: str) -> list[Case]:
    alert = f"Model{kind}BurningFast"
    late = "0x4 "  # nothing for five minutes

    def case(
        name: str,
        long: float = 0,
        short: float = 0,
        longer: float = 0,
        shorter: float = 0,
        *,
        bad: str = "100",
        at: str = "70m",
        fires: float | None = None,
        before: str = "",
    ) -> Case:
        rates = {"1h": long, "5m": short, "6h": longer, "30m": shorter}
        limits = {window: (rate, before) for window, rate in rates.items()}
        series = _series(kind, limits, bad, 60)
        firing = _fired(kind, fires) if fires else []
        every, evaluated = ("1m", "") if before else ("5m", "35m")
        return Case(alert, name, series, at, firing, every, evaluated)

    return [
        case("1h and 5m above", 14.6, 14.6, fires=14.6),
        case("1h just below", 14.2, 60),
        case("5m just below: it is over", 60, 14.2),
        case("6h and 30m above", longer=6.2, shorter=6.2, fires=6.2),
        case("6h just below", longer=5.8, shorter=60),
        case("30m just below", longer=60, shorter=5.8),
        case("one long and the other short window", 60, 0, 0, 60),
        case("five in 5m", 14.6, 14.6, bad="5", fires=14.6),
        case("not five in 5m", 14.6, 14.6, bad="4.9"),
        case("five in 30m", longer=6.2, shorter=6.2, bad="0.84", fires=6.2),
        case("not five in 30m", longer=6.2, shorter=6.2, bad="0.82"),
        case("for 2m", 20, 20, at="7m", fires=20, before=late),
        case("not yet for 2m", 20, 20, at="6m", before=late),
        case("nothing fails"),
    ]


def _slow(kind: str) -> list[Case]:
    alert = f"Model{kind}BurningSlowly"
    late = "0x4 "

    def case(
        name: str,
        long: float = 0,
        short: float = 0,
        longer: float = 0,
        shorter: float = 0,
        *,
        bad: str = "100",
        at: str = "14h",
        fires: float | None = None,
        before: str = "",
    ) -> Case:
        rates = {"1d": long, "2h": short, "3d": longer, "6h": shorter}
        limits = {window: (rate, before) for window, rate in rates.items()}
        series = _series(kind, limits, bad, 200)
        firing = _fired(kind, fires) if fires else []
        return Case(alert, name, series, at, firing, "5m", "" if before else "7h")

    return [
        case("1d and 2h above", 3.1, 3.1, fires=3.1),
        case("1d just below", 2.9, 60),
        case("2h just below: it is over", 60, 2.9),
        case("3d and 6h above", longer=1.02, shorter=1.02, fires=1.02),
        case("3d just below", longer=0.98, shorter=60),
        case("6h just below", longer=60, shorter=0.98),
        case("five in 2h", 3.1, 3.1, bad="0.21", fires=3.1),
        case("not five in 2h", 3.1, 3.1, bad="0.205"),
        case("five in 6h", longer=1.02, shorter=1.02, bad="0.07", fires=1.02),
        case("not five in 6h", longer=1.02, shorter=1.02, bad="0.069"),
        case("for 15m", 5, 5, at="40m", fires=5, before=late),
        case("not yet for 15m", 5, 5, at="35m", before=late),
    ]


def _from_counters() -> list[Case]:
    """From what Envoy and the servers count, by way of the recording rules, to the alert."""
    gateway = 'namespace="istio-ingress", pod="gateway-1", model_name="churn", model_version="1"'
    up = {'up{job="pods", namespace="istio-ingress", pod="gateway-1"}': "1x200"}
    arrived = {f"envoy_cluster_upstream_rq_completed{{{gateway}}}": "0+100x200"}
    failed = f'envoy_cluster_upstream_rq{{{gateway}, response_code_class="5xx"}}'
    server = 'namespace="models", pod="churn-v1-1-1", model_name="churn", model_version="1"'
    quick = f'model_prediction_latency_seconds_bucket{{{server}, le="1.0"}}'
    answered = {f"model_prediction_latency_seconds_count{{{server}}}": "0+100x200"}
    recording = ("slipway-objectives",)

    def availability(name: str, values: str, fires: list[Fired]) -> Case:
        series = {**up, **arrived, failed: values}
        return Case(
            "ModelAvailabilityBurningFast", name, series, "30m", fires, "30s", recording=recording
        )

    def latency(name: str, values: str, fires: list[Fired]) -> Case:
        series = {**up, **arrived, **answered, quick: values}
        return Case(
            "ModelLatencyBurningFast", name, series, "30m", fires, "30s", recording=recording
        )

    return [
        # The class of 5xx comes to be with its first failure.
        availability("a tenth fails", "_ 10+10x200", _fired("Availability", 20.14)),
        availability("a twentieth fails", "_ 5+5x200", _fired("Availability", 10.072)),
        availability("a fiftieth fails", "_ 2+2x200", []),
        latency("a fifth is slow", "0+80x200", _fired("Latency", 20)),
        latency("a twentieth is slow", "0+95x200", []),
    ]
