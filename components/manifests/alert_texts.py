"""What the alerts say: a summary, which is a template of Prometheus, and a description."""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = "{{ $labels.model_name }}"
_SERVER = f"{_MODEL} version {{{{ $labels.model_version }}}}"
_PERCENT = "{{ $value | humanizePercentage }}"
_HOURS = '{{ printf "%.1f" $value }}'
_WHERE = (
    "{{ $labels.job }}{{ with $labels.pod }}, pod {{ . }}{{ end }}"
    "{{ with $labels.instance }} at {{ . }}{{ end }}"
)

# Name of the alert -> summary, description.
TEXTS: Mapping[str, tuple[str, str]] = {
    "ModelAvailabilityBurningFast": (
        f"{_MODEL}: {_PERCENT} of the requests fail",
        "Clients get answers of 500 and more, so often that what may fail in 30 days is gone in "
        "five days or less: 14.4 times too fast over 1h, or 6 times over 6h, and it goes on. Look "
        "first at which version fails, and whether a rollout brought it.",
    ),
    "ModelAvailabilityBurningSlowly": (
        f"{_MODEL}: {_PERCENT} of the requests fail",
        "Clients get answers of 500 and more, so often that what may fail in 30 days will not last "
        "for them: 3 times too fast over 1d, or above the objective over 3d, and it goes on. Look "
        "first at which version fails, and with which codes.",
    ),
    "ModelLatencyBurningFast": (
        f"{_MODEL}: {_PERCENT} of the predictions are slower than the objective",
        "So many predictions are slow that what may be slow in 30 days is gone in five days or "
        "less: 14.4 times too fast over 1h, or 6 times over 6h, and it goes on. Look first at "
        "whether one version is slow or all are, and at replicas against their maximum.",
    ),
    "ModelLatencyBurningSlowly": (
        f"{_MODEL}: {_PERCENT} of the predictions are slower than the objective",
        "So many predictions are slow that what may be slow in 30 days will not last for them: 3 "
        "times too fast over 1d, or above the objective over 3d, and it goes on. Look first at the "
        "latencies by version, and at the sizes of the requests.",
    ),
    "ModelServerDown": (
        f"{_SERVER}: none of {{{{ $value }}}} pods is available",
        "The version's Deployment wants pods and has none that is ready, for 5 minutes. Requests "
        "that the route gives to it are answered with 503; this is critical where it gives any. "
        "Look first at its pods and why they do not start.",
    ),
    "ModelServerRestarting": (
        f'{_SERVER}: {{{{ printf "%.0f" $value }}}} restarts in 15 minutes',
        "Containers of this version end and are started again. Requests they held were lost or "
        "asked for again. Look first at why the last one ended: out of memory, or a failed probe.",
    ),
    "ModelNotWaking": (
        f'{_SERVER}: {{{{ printf "%.0f" $value }}}} requests waited in vain for a pod',
        "The version sleeps, requests came, and no pod was ready within its cold_start: they were "
        "answered with 503, in the last 15 minutes. Look first at its pods' events, and at KEDA.",
    ),
    "ModelCanaryStuck": (
        f"{_MODEL}: two versions share the requests, and the smaller share has long been "
        "{{ $value }} %",
        "No step was taken for as long as alerts.canary_stuck says, and the model is no A/B test. "
        "A rollout waits, or nobody runs it. Look first at what it waits for: slipway status.",
    ),
    "ModelAtMaxReplicas": (
        f"{_SERVER}: at its maximum of {{{{ $value }}}} replicas",
        "The autoscaler has given this version all that scaling.max allows, for 15 minutes; more "
        "load makes it slow. Look first at latency and at whether the load is real.",
    ),
    "ModelTrafficStopped": (
        f"{_MODEL}: no request for 10 minutes, after requests in {_HOURS} of the last 6 hours",
        "The gateway counted requests for hours and now counts none. Either the clients stopped, "
        "or they no longer reach the gateway. Look first at whether you can reach it yourself.",
    ),
    "ModelInputsDrifting": (
        f'{_SERVER}: {{{{ $labels.feature }}}} has drifted, PSI {{{{ printf "%.2f" $value }}}}',
        "What is asked or predicted over the last hour is distributed otherwise than in the "
        "training data: a population stability index above 0.2 for 30 minutes. Nothing fails, but "
        "predictions may be worth less. Look first at whether an upstream field changed.",
    ),
    "PlatformDown": (
        "{{ $labels.namespace }}/{{ $labels.deployment }}: none of {{ $value }} pods is available",
        "A Deployment that is no model's wants pods and has none that is ready, for 3 minutes. "
        "Without the gateway no request is answered; without MLflow or the bucket no new pod can "
        "fetch its version. Look first at its pods and why they do not start.",
    ),
    "VolumeNearlyFull": (
        "{{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }}: "
        f"{_PERCENT} of the volume is free",
        "Less than a tenth of the volume is free, or what is free is used up in 4 hours at the "
        "pace of the last 6. A full volume stops who writes to it. Look first at what grows.",
    ),
    "TargetMissing": (
        f"{_WHERE}: {{{{ if $labels.instance }}}}does not answer Prometheus{{{{ else }}}}has no "
        "target{{ end }}",
        "For 5 minutes Prometheus could not read it, or found nothing of that job to read. Alerts "
        "and scaling that need its metrics are blind. Look first at whether its pod runs.",
    ),
    "RuleEvaluationFailing": (
        '{{ $labels.rule_group }}: a rule fails, {{ printf "%.0f" $value }} times in 5 minutes',
        "Prometheus cannot evaluate a rule of this group, so that its alerts do not fire and its "
        "recorded series end. Look first at the rule's error in Prometheus.",
    ),
    "AlertsNotDelivered": (
        'notifications not delivered: {{ printf "%.0f" $value }}'
        "{{ with $labels.integration }} by {{ . }} ({{ $labels.reason }}){{ end }}"
        "{{ with $labels.alertmanager }} to {{ . }}{{ end }}",
        "Alertmanager gave up telling a receiver, or Prometheus cannot reach Alertmanager. People "
        "who should know of alerts do not. Look first at Alertmanager's log.",
    ),
}
