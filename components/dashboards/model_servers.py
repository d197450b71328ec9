"""The panels of a model's pods: how many there are, what they use, and what they are asked."""

from __future__ import annotations

from .board import MODELS, RED, YELLOW
from .model_series import HPA, MODEL, POD, SERVER, VERSION, share
from .panels import Box, Series, graph


def scaling() -> list[Box]:
    """Replicas against the autoscaler's bounds and targets."""
    name = "{{horizontalpodautoscaler}}"
    kinds = "namespace, horizontalpodautoscaler, metric_name, metric_target_type"
    hpa = "kube_horizontalpodautoscaler"
    return [
        graph(
            "Replicas",
            "Replicas there are and replicas the autoscaler wants, and, dashed, "
            "its bounds, by version; wanted above those there are for long is bad, and so is "
            "the maximum.",
            "none",
            Series(f"{hpa}_status_current_replicas{{{HPA}}}", name),
            Series(f"{hpa}_status_desired_replicas{{{HPA}}}", f"{name} wanted"),
            Series(f"{hpa}_spec_min_replicas{{{HPA}}}", f"{name} min", dashed=True),
            Series(f"{hpa}_spec_max_replicas{{{HPA}}}", f"{name} max", dashed=True),
        ),
        graph(
            "Load against the autoscaler's target",
            "What the autoscaler measures, as a share "
            "of what one replica is to bear; it adds replicas above 110 %, so above that for "
            "long is bad.",
            "percentunit",
            Series(
                f"{hpa}_status_target_metric{{{HPA}}} / on ({kinds}) "
                f"{hpa}_spec_target_metric{{{HPA}}}",
                f"{name} {{{{metric_name}}}}",
            ),
            steps=((1.1, YELLOW),),
        ),
        graph(
            "Replicas not available",
            "Replicas that are wanted and do not serve, by version; "
            "above 0 for longer than a start takes is bad.",
            "none",
            Series(
                "kube_deployment_status_replicas_unavailable"
                f'{{namespace="{MODELS}",deployment=~"$model-v$version"}}',
                "{{deployment}}",
            ),
        ),
    ]


def zero() -> list[Box]:
    """What waits for versions without a pod, where they may have none."""
    waiting = f"sum by (model_version) (activator_waiting_requests{{{VERSION}}})"
    bucket = f"increase(activator_wait_seconds_bucket{{{VERSION}}}[30m])"
    over = f"rate(activator_requests_total{{{VERSION}}}[$__rate_interval])"
    return [
        graph(
            "Requests that wait for a pod",
            "Requests that are held for a version without a pod, by version; above 0 for longer "
            "than scaling.cold_start is bad. Empty for a model that does not scale to zero.",
            "none",
            Series(waiting, "v{{model_version}}"),
        ),
        graph(
            "Cold start",
            "How long requests waited for a pod that then answered, 95 % of those of the last "
            "half hour, by version; near scaling.cold_start is bad. Empty while nobody waited.",
            "s",
            Series(
                f"histogram_quantile(0.95, sum by (model_version, le) ({bucket}))",
                "v{{model_version}}",
            ),
        ),
        graph(
            "How waits ended",
            "Requests a second that were held and answered, or else had waited too long "
            "(expired), found no room (refused), or ended otherwise; any but answered and gone is "
            "bad. Empty for a model that does not scale to zero.",
            "reqps",
            Series(f"sum by (model_version, result) ({over})", "v{{model_version}} {{result}}"),
        ),
    ]


def pods() -> list[Box]:
    """What the pods use of what they ask for."""

    def against(used: str, resource: str) -> str:
        asked = f'kube_pod_container_resource_requests{{{SERVER},resource="{resource}"}}'
        return f"sum by (pod) ({used}) / sum by (pod) ({asked})"

    cpu = f"rate(container_cpu_usage_seconds_total{{{SERVER}}}[$__rate_interval])"
    memory = f"container_memory_working_set_bytes{{{SERVER}}}"
    return [
        graph(
            "CPU against the request",
            "CPU of each pod as a share of what it asks for; it may "
            "use up to four times that, and near 400 % is bad: requests wait.",
            "percentunit",
            Series(against(cpu, "cpu"), "{{pod}}"),
            steps=((4, RED),),
        ),
        graph(
            "Memory against the request",
            "Memory of each pod as a share of what it asks for, "
            "which is its limit too; near 100 % is bad: the pod is killed.",
            "percentunit",
            Series(against(memory, "memory"), "{{pod}}"),
            steps=((0.9, YELLOW), (1, RED)),
            top=1,
        ),
        graph(
            "Restarts",
            "Restarts of each pod in the last hour; any is bad.",
            "none",
            Series(
                f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{POD}}}[1h]))",
                "{{pod}}",
            ),
            steps=((1, RED),),
        ),
    ]


def inputs() -> list[Box]:
    """Drift of the inputs and the predictions, where a version has a profile."""
    psi = f"model_version_feature:drift:psi{{{VERSION}}}"
    return [
        graph(
            "Drift by feature",
            "Population stability index of each numeric input, and of the "
            "prediction, over an hour against the training data; above 0.1 look, above 0.2 is "
            "bad: the model sees what it was not trained on. Empty for a version that has no "
            "profile.",
            "none",
            Series(psi, "v{{model_version}} {{feature}}"),
            steps=((0.1, YELLOW), (0.2, RED)),
            width=12,
        ),
        graph(
            "Most drifted feature",
            "The highest population stability index among the features "
            "of each version; above 0.2 is bad. Empty for a version that has no profile.",
            "none",
            Series(f"max by (model_version) ({psi})", "v{{model_version}}"),
            steps=((0.1, YELLOW), (0.2, RED)),
            width=12,
        ),
    ]


def shadow() -> list[Box]:
    """The comparison of a shadow with stable, where there is one."""
    name = "v{{model_version}} against v{{against}}"
    disagreements = share(
        "model_disagreements_total", "model_comparisons_total", MODEL, "model_version, against"
    )
    unanswered = f"rate(model_comparison_errors_total{{{MODEL}}}[$__rate_interval])"
    dropped = f"rate(model_comparisons_dropped_total{{{MODEL}}}[$__rate_interval])"
    return [
        graph(
            "Disagreements",
            "The share of the mirrored requests that the shadow answers "
            "otherwise than stable; above what the rollout allows (5 % by default) is bad. "
            "Empty without a shadow.",
            "percentunit",
            Series(disagreements, name),
            steps=((0.05, RED),),
        ),
        graph(
            "Shift of predictions",
            "Population stability index of the shadow's predictions "
            "against stable's; above 0.2 is bad. Empty without a shadow.",
            "none",
            Series(f"sum by (model_version, against) (model_prediction_psi{{{MODEL}}})", name),
            steps=((0.2, RED),),
        ),
        graph(
            "Not compared",
            "Mirrored requests a second without an answer of a side, or "
            "dropped; more than a few is bad: the comparison rests on the rest. Empty without a "
            "shadow.",
            "reqps",
            Series(f"sum by (side) ({unanswered})", "no answer of {{side}}"),
            Series(f"sum({dropped})", "dropped"),
        ),
    ]
