"""The other alerts of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .promtool import Case, Fired

_CHURN_2 = {"model_name": "churn", "model_version": "2"}


def cases() -> list[Case]:
    """All cases of these alerts."""
    return [
        *_server_down(),
        *_restarting(),
        *_not_waking(),
        *_canary_stuck(),
        *_at_max(),
        *_traffic_stopped(),
        *_drifting(),
    ]


def _server_down() -> list[Case]:
    weight = 'model_version:route_weight:percent{model_name="%s", model_version="%s"}'

    def case(
        name: str,
        wanted: str,
        available: str,
        at: str = "10m",
        *,
        pods: int = 0,
        deployment: str = "churn-v2",
        namespace: str = "models",
        routed: bool = True,
        weights: Mapping[str, str] | None = None,
        recording: Sequence[str] = (),
    ) -> list[Case]:
        """One of each severity. `pods` are those of the one that fires, critical if `routed`."""
        of = f'{{namespace="{namespace}", deployment="{deployment}"}}'
        series = {
            f"kube_deployment_spec_replicas{of}": wanted,
            f"kube_deployment_status_replicas_available{of}": available,
            **(weights or {weight % ("churn", 2): "1x20" if routed else "0x20"}),
        }
        labels = {**_CHURN_2, "namespace": namespace, "deployment": deployment}
        fired: list[Fired] = [(labels, f"churn version 2: none of {pods} pods is available")]
        return [
            Case(
                f"ModelServerDown_{severity}",
                name,
                series,
                at,
                fired if pods and routed == (severity == "critical") else [],
                recording=recording,
            )
            for severity in ("critical", "warning")
        ]

    others = {weight % ("churn", 1): "100x20", weight % ("fraud", 2): "100x20"}
    told = 'slipway_route_weight{namespace="models", model_name="churn", model_version="2"}'
    tried = [
        case("none of two", "2x20", "0x20", pods=2),
        case("none of one", "1x20", "0x20", pods=1),
        case("none of two, without weight", "2x20", "0x20", pods=2, routed=False),
        case("none of one, without weight", "1x20", "0x20", pods=1, routed=False),
        case("only others are asked", "1x20", "0x20", pods=1, routed=False, weights=others),
        case("one of two", "2x20", "1x20"),
        case("one of two, without weight", "2x20", "1x20", routed=False),
        case("none is wanted", "0x20", "0x20"),
        case("none is wanted, without weight", "0x20", "0x20", routed=False),
        case("for 5m", "2x20", "2x4 0x20", "10m", pods=2),
        case("for 5m, without weight", "2x20", "2x4 0x20", "10m", pods=2, routed=False),
        case("not yet for 5m", "2x20", "2x4 0x20", "9m"),
        case("not yet for 5m, without weight", "2x20", "2x4 0x20", "9m", routed=False),
        case("a comparer", "1x20", "0x20", deployment="churn-comparer"),
        case("elsewhere", "1x20", "0x20", namespace="other"),
        *(
            case(
                f"from the route: {percent} %",
                "1x20",
                "0x20",
                pods=1,
                routed=percent > 0,
                weights={told: f"{percent}x20"},
                recording=("slipway-traffic",),
            )
            for percent in (0, 100)
        ),
    ]
    return [each for both in tried for each in both]


def _restarting() -> list[Case]:
    def case(
        name: str,
        *restarts: str,
        fires: list[Fired] | None = None,
        pod: str = "churn-v2-7f9c4d5b8c",
    ) -> Case:
        series = {
            "kube_pod_container_status_restarts_total"
            f'{{namespace="models", pod="{pod}-x{number}2lp", container="server"}}': values
            for number, values in enumerate(restarts)
        }
        return Case("ModelServerRestarting", name, series, "15m", fires or [], evaluated="15m")

    twice: list[Fired] = [(_CHURN_2, "churn version 2: 2 restarts in 15 minutes")]
    return [
        case("two of one pod", "0x4 1x4 2x20", fires=twice),
        case("one each of two pods", "0x4 1x20", "3x7 4x20", fires=twice),
        case("one", "0x4 1x20", "7x20"),
        case("two long ago", "0 1 2x20", "7x20"),
        case("a comparer's", "0x4 1x4 2x20", pod="churn-comparer-7f9c4d5b8c"),
    ]


def _not_waking() -> list[Case]:
    def case(name: str, *over: str, result: str = "expired", fires: bool = False) -> Case:
        of = f'model_name="churn", model_version="2", result="{result}"'
        series = {
            f'activator_requests_total{{{of}, pod="activator-{number}"}}': values
            for number, values in enumerate(over)
        }
        fired: list[Fired] = [(_CHURN_2, "churn version 2: 2 requests waited in vain for a pod")]
        return Case("ModelNotWaking", name, series, "15m", fired * fires, evaluated="15m")

    return [
        case("two of one activator", "0x4 2x20", fires=True),
        case("one each of both", "0x4 1x20", "3x7 4x20", fires=True),
        case("none", "7x20", "0x20"),
        case("long ago", "0 2x20"),
        case("answered", "0x4 2x20", result="answered"),
        case("handed over", "0x4 2x20", result="handed_over"),
    ]


def _canary_stuck() -> list[Case]:
    def case(
        name: str, weight: str, at: str = "6h", *, model: str = "churn", fires: str = ""
    ) -> Case:
        """`weight` is the canary's; the stable version has the rest."""
        rest = " ".join(
            part
            if part.startswith("_")
            else f"{100 - int(part.split('x')[0])}x{part.split('x')[1]}"
            for part in weight.split()
        )
        metric = "model_version:route_weight:percent"
        series = {
            f'{metric}{{model_name="{model}", model_version="{version}"}}': values
            for version, values in (("1", rest), ("2", weight))
        }
        fired: list[Fired] = [
            (
                {"model_name": model},
                f"{model}: two versions share the requests, and the smaller share has long been "
                f"{fires} %",
            )
        ]
        return Case("ModelCanaryStuck", name, series, at, fired if fires else [], "5m", at)

    return [
        case("one percent for 6h", "1x100", fires="1"),
        case("ten percent for 6h, after five", "5x30 10x100", "8h30m", fires="10"),
        case("ten percent for not quite 6h", "5x30 10x100", "8h25m"),
        case("there for less than 6h", "_x70 10x200", "11h45m"),
        case("there for 6h", "_x70 10x200", "11h50m", fires="10"),
        case("back at what it was", "10x36 5x5 10x200", "8h"),
        case("nothing yet", "0x100"),
        case("everything", "100x100"),
        case("a test, which is sticky", "50x100", model="fraud"),
        case("Prometheus was away six hours ago", "10x20 _x5 10x100", "7h55m", fires="10"),
    ]


def _at_max() -> list[Case]:
    def case(
        name: str,
        current: str,
        at: str = "30m",
        *,
        low: int = 2,
        keda: str = "",
        fires: bool = False,
    ) -> Case:
        autoscaler = f"{keda}churn-v2"
        of = f'{{namespace="models", horizontalpodautoscaler="{autoscaler}"}}'
        metric = "kube_horizontalpodautoscaler"
        series = {
            f"{metric}_status_current_replicas{of}": current,
            f"{metric}_spec_max_replicas{of}": "10x40",
            f"{metric}_spec_min_replicas{of}": f"{low}x40",
        }
        labels = {**_CHURN_2, "namespace": "models", "horizontalpodautoscaler": autoscaler}
        fired: list[Fired] = [(labels, "churn version 2: at its maximum of 10 replicas")]
        return Case("ModelAtMaxReplicas", name, series, at, fired if fires else [])

    return [
        case("at the maximum", "10x40", fires=True),
        case("at the maximum, scaled by KEDA", "10x40", keda="keda-hpa-", fires=True),
        case("one below", "9x40"),
        case("a fixed number", "10x40", low=10),
        case("for 15m", "9x4 10x40", "20m", fires=True),
        case("not yet for 15m", "9x4 10x40", "19m"),
        case("left for a moment", "10x20 9 10x40", "30m"),
    ]


def _traffic_stopped() -> list[Case]:
    def case(
        name: str,
        requests: str,
        at: str = "8h",
        *,
        fires: str = "",
        known: str = "1x200",
        evaluated: str = "1h",
        model: str = "churn",
    ) -> Case:
        of = f'{{model_name="{model}"}}'
        series = {
            f"model:gateway_requests:increase5m{of}": requests,
            f"model:availability_objective:ratio{of}": known.replace("1x", "0.995x"),
        }
        fired: list[Fired] = [
            (
                {"model_name": "churn"},
                f"churn: no request for 10 minutes, after requests in {fires} of the last 6 hours",
            )
        ]
        firing = fired if fires else []
        return Case("ModelTrafficStopped", name, series, at, firing, "5m", evaluated)

    # Of the samples of 6h up to 8h the first stands at 2h5m, that is number 25.
    return [
        case("more than an hour without", "50x80 0x20", fires="4.7"),
        case("more than an hour without a counter", "50x80", fires="4.7"),
        case("more than an hour of a model at zero", "50x80 0x20", model="nightly"),
        case("some now", "50x80 0x14 1x20"),
        case("3h of few and some of many", "0x24 1x34 570 0x80", fires="3.0"),
        case("not quite 3h", "0x24 1x33 570 0x80"),
        case("610 requests", "0x24 16x37 2 0x80", fires="3.2"),
        case("not 600", "0x24 15.5x37 0x80"),
        case("never any", "0x100"),
        case("in the configuration no more", "50x80 0x20", known="1x70"),
        case("for 5m more", "50x38 0x20", "3h20m", fires="3.2", evaluated="150s"),
        case("not yet for 5m more", "50x38 0x20", "3h17m30s", evaluated="150s"),
    ]


def _drifting() -> list[Case]:
    def case(name: str, psi: str, at: str = "2h", fires: str = "") -> Case:
        labels = {**_CHURN_2, "feature": "age"}
        of = '{model_name="churn", model_version="2", feature="age"}'
        summary = f"churn version 2: age has drifted, PSI {fires}"
        return Case(
            "ModelInputsDrifting",
            name,
            {f"model_version_feature:drift:psi{of}": psi},
            at,
            [(labels, summary)] if fires else [],
            "5m",
        )

    return [
        case("above", "0.21x50", fires="0.21"),
        case("just below", "0.19x50"),
        case("for 30m", "0.1x9 0.3x50", "1h20m", fires="0.30"),
        case("not yet for 30m", "0.1x9 0.3x50", "1h15m"),
    ]
