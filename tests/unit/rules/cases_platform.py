"""The alerts of the platform: volumes, and monitoring itself."""

from __future__ import annotations

from components.manifests import alert_rules

from .promtool import Case, Fired


def cases() -> list[Case]:
    """All cases of these alerts."""
    return [*_down(), *_volume(), *_target_missing(), *_rules_failing(), *_not_delivered()]


def _down() -> list[Case]:
    def case(
        name: str,
        wanted: str,
        available: str,
        at: str = "6m",
        *,
        fires: int = 0,
        of: tuple[str, str] = ("mlflow", "versitygw"),
    ) -> Case:
        namespace, deployment = of
        # Beside it stands one that is well.
        found = [(namespace, deployment, wanted, available), ("mlflow", "mlflow", "1x20", "1x20")]
        series = {
            f'kube_deployment_{metric}{{namespace="{where}", deployment="{which}"}}': values
            for where, which, *both in found
            for metric, values in zip(
                ("spec_replicas", "status_replicas_available"), both, strict=True
            )
        }
        labels = {"namespace": namespace, "deployment": deployment}
        summary = f"{namespace}/{deployment}: none of {fires} pods is available"
        return Case("PlatformDown", name, series, at, [(labels, summary)] if fires else [])

    return [
        case("the bucket", "1x20", "0x20", fires=1),
        case("both gateways", "2x20", "0x20", of=("istio-ingress", "istio-ingress"), fires=2),
        case("Alertmanager", "1x20", "0x20", of=("monitoring", "alertmanager"), fires=1),
        case("one of two gateways", "2x20", "1x20", of=("istio-ingress", "istio-ingress")),
        case("none is wanted", "0x20", "0x20"),
        case("for 3m", "1x20", "1x2 0x20", "6m", fires=1),
        case("not yet for 3m", "1x20", "1x2 0x20", "5m"),
        case("the activator", "2x20", "0x20", of=("models", "activator"), fires=2),
        case("one activator", "1x20", "0x20", of=("models", "activator"), fires=1),
        case("one of two activators", "2x20", "1x20", of=("models", "activator")),
        case("no activator is wanted", "0x20", "0x20", of=("models", "activator")),
        case("a model server", "1x20", "0x20", of=("models", "churn-v2")),
        case("elsewhere", "1x20", "0x20", of=("other", "other")),
    ]


def _volume() -> list[Case]:
    def case(
        name: str,
        available: str,
        at: str = "30m",
        *,
        capacity: float = 1000,
        fires: str = "",
        namespace: str = "mlflow",
        evaluated: str = "1m",
    ) -> Case:
        labels = {"namespace": namespace, "persistentvolumeclaim": "mlflow"}
        of = f'{{namespace="{namespace}", persistentvolumeclaim="mlflow"}}'
        series = {
            f"kubelet_volume_stats_available_bytes{of}": available,
            f"kubelet_volume_stats_capacity_bytes{of}": f"{capacity:g}x100",
        }
        fired: list[Fired] = [(labels, f"{namespace}/mlflow: {fires} of the volume is free")]
        firing = fired if fires else []
        return Case("VolumeNearlyFull", name, series, at, firing, evaluated=evaluated)

    # Of 100 bytes a minute 4 hours take 24000.
    falls = "+-100x100".replace("+-", "-")
    return [
        case("less than a tenth", "95x100", fires="9.5%", evaluated="10m"),
        case("a tenth and a little", "105x100", evaluated="10m"),
        case("for 10m", "500x4 50x100", "15m", fires="5%"),
        case("not yet for 10m", "500x4 50x100", "14m"),
        case("elsewhere", "5x100", namespace="other", evaluated="10m"),
        # Two samples make a line: four hours after the second it is at -0.5, or at 1.
        case("full in four hours", f"24099.5{falls}", "11m", capacity=70000, fires="32.86%"),
        case("full in a little more", f"24101{falls}", "11m", capacity=70000),
        case("less than four tenths", f"23900{falls}", "11m", capacity=60000, fires="38%"),
        case("more than four tenths", f"23900{falls}", "11m", capacity=55000),
    ]


def _target_missing() -> list[Case]:
    every = (*alert_rules.JOBS, *alert_rules.OPTIONAL_JOBS)

    def series(values: str, jobs: tuple[str, ...] = every) -> dict[str, str]:
        return {f'up{{job="{job}", instance="10.0.0.1:80", pod="p-1"}}': values for job in jobs}

    def case(
        name: str,
        of: dict[str, str],
        at: str,
        fires: list[Fired] | None = None,
        evaluated: str = "5m",
    ) -> Case:
        return Case("TargetMissing", name, of, at, fires or [], evaluated=evaluated)

    silent: list[Fired] = [
        (
            {"job": job, "instance": "10.0.0.1:80", "pod": "p-1"},
            f"{job}, pod p-1 at 10.0.0.1:80: does not answer Prometheus",
        )
        for job in every
    ]
    absent: list[Fired] = [({"job": job}, f"{job}: has no target") for job in alert_rules.JOBS]
    server = 'up{job="pods", instance="10.0.0.2:80", model_name="churn", model_version="2"}'
    of_model: Fired = (
        {
            "job": "pods",
            "instance": "10.0.0.2:80",
            "model_name": "churn",
            "model_version": "2",
        },
        "pods at 10.0.0.2:80: does not answer Prometheus",
    )
    needed = tuple(alert_rules.JOBS)
    return [
        case("a target of each job is down", series("0x20"), "10m", silent),
        case("all are there", series("1x20"), "10m"),
        case("what is optional is not there", series("1x20", needed), "10m"),
        case("no job is there", {}, "10m", absent),
        case("for 5m", series("1x4 0x20"), "10m", silent, "1m"),
        case("not yet for 5m", series("1x4 0x20"), "9m", evaluated="1m"),
        case("a model server", {**series("1x20"), server: "0x20"}, "10m", [of_model]),
        case("a job of somebody else", {**series("1x20"), 'up{job="other"}': "0x20"}, "10m"),
    ]


def _rules_failing() -> list[Case]:
    def case(
        name: str, failures: str, at: str = "20m", *, fires: str = "", group: str = "slipway-drift"
    ) -> Case:
        of = f'{{rule_group="/etc/prometheus/rules.json;{group}"}}'
        summary = f"{group}: a rule fails, {fires} times in 5 minutes"
        return Case(
            "RuleEvaluationFailing",
            name,
            {f"prometheus_rule_evaluation_failures_total{of}": failures},
            at,
            [({"rule_group": group}, summary)] if fires else [],
        )

    return [
        case("one every four minutes", "0x3 1x3 2x3 3x3 4x3 5x20", fires="1"),
        case("none", "3x40"),
        case("one", "0x10 1x40", "14m"),
        case("for 5m", "0x4 1+1x40", "10m", fires="5"),
        case("not yet for 5m", "0x4 1+1x40", "9m"),
        case("not for 5m any more", "0 1 2 3x40", "12m"),
        case("somebody else's rules", "0+1x40", group="other"),
    ]


def _not_delivered() -> list[Case]:
    given_up = {"integration": "slack", "reason": "clientError"}
    failed = 'alertmanager_notifications_failed_total{integration="slack", reason="clientError"}'
    address = "http://alertmanager:9093/api/v2/alerts"
    dropped = f'prometheus_notifications_dropped_total{{alertmanager="{address}"}}'
    by_slack = "notifications not delivered: 1 by slack (clientError)"

    def case(name: str, series: dict[str, str], at: str, fires: list[Fired] | None = None) -> Case:
        return Case("AlertsNotDelivered", name, series, at, fires or [])

    def lost(number: str) -> list[Fired]:
        return [({"alertmanager": address}, f"notifications not delivered: {number} to {address}")]

    return [
        case("Alertmanager gave up once", {failed: "0x9 1x40"}, "20m", [(given_up, by_slack)]),
        case("for 5m", {failed: "0x19 1x40"}, "25m", [(given_up, by_slack)]),
        case("not yet for 5m", {failed: "0x19 1x40"}, "24m"),
        case("all was delivered", {failed: "3x40", dropped: "2x40"}, "20m"),
        case("Prometheus drops one each minute", {dropped: "0+1x40"}, "20m", lost("3")),
        case(
            "Prometheus drops one now and then",
            {dropped: "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7"},
            "13m",
            lost("2"),
        ),
        case("Alertmanager was away for a moment", {dropped: "0x9 1 2 2x40"}, "16m"),
    ]
