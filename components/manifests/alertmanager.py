"""The manifests of Alertmanager: who is told of which alert, and what mutes what.

Its configuration: https://prometheus.io/docs/alerting/latest/configuration/
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from settings.monitoring import AlertRoute, Alerts, Receiver
from settings.types import duration_seconds

from . import common, mlflow
from .alert_rules import duration
from .common import Manifest, Text
from .istio import INGRESS_NAMESPACE

SERVER = "alertmanager"
PORT = 9093
CONFIG_FILE = "alertmanager.yml"
SECRETS = "/etc/alertmanager-secrets"  # where the files with the receivers' secrets are mounted
VOLUME = "1Gi"
USER = 65534
NOBODY = "nobody"
GROUPED_BY = ["alertname", "model_name"]
# Hours. Alertmanager counts in 64 bits of nanoseconds: 292 years.
_LEAST_RETENTION, _LONGEST_RETENTION = 120, 200 * 365 * 24

# (what fires, what it then mutes, the labels in which both agree): what follows from a cause that
# is told already. Nothing critical is ever muted.
_MUTES: tuple[tuple[list[str], str, list[str]], ...] = (
    (["ModelAvailabilityBurningFast"], "ModelAvailabilityBurningSlowly", ["model_name"]),
    (["ModelLatencyBurningFast"], "ModelLatencyBurningSlowly", ["model_name"]),
    (["ModelServerDown"], "ModelServerRestarting|TargetMissing", ["model_name", "model_version"]),
    # A gateway that nobody reads counts nothing; where no pod is found, none has a namespace.
    (
        ["TargetMissing", 'job="pods"', f'namespace=~"{INGRESS_NAMESPACE}|"'],
        "ModelTrafficStopped",
        [],
    ),
    (["PlatformDown", f'namespace="{INGRESS_NAMESPACE}"'], "ModelTrafficStopped", []),
    # In their namespaces nothing else is scraped: the bucket is not.
    (
        ["PlatformDown", f'deployment=~"{INGRESS_NAMESPACE}|{mlflow.SERVER}"'],
        "TargetMissing",
        ["namespace"],
    ),
)

# What people read, in the language of Go's text/template:
# https://prometheus.io/docs/alerting/latest/notifications/
_OF_MODEL = "{{ .GroupLabels.alertname }}{{ with .GroupLabels.model_name }} of {{ . }}{{ end }}"
_STATUS = (
    '[{{ .Status | toUpper }}{{ if eq .Status "firing" }} {{ .Alerts.Firing | len }}{{ end }}]'
)
_FOR_SLACK = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"'
_RUNBOOK = "{{ with .Annotations.runbook_url }}\nRunbook: {{ . }}{{ end }}"
_CRITICAL = (
    "{{ $critical := false }}{{ range .Alerts }}"
    '{{ if eq .Labels.severity "critical" }}{{ $critical = true }}{{ end }}{{ end }}'
)


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(SERVER, SERVER, "monitoring")


def configuration(alerts: Alerts) -> str:
    """alertmanager.yml, as JSON, which is YAML too, so that equal input gives equal bytes.

    It holds no secret: what is secret stands in a file of the receiver's name under SECRETS.
    """
    receivers = [_receiver(name, it) for name, it in sorted(alerts.receivers.items())]
    config = {
        "route": {
            "receiver": alerts.default or NOBODY,
            "group_by": GROUPED_BY,
            "group_wait": duration(alerts.group_wait),
            "group_interval": duration(alerts.group_interval),
            "repeat_interval": duration(alerts.repeat),
            "routes": [
                *_to_everybody("AlertsNotDelivered", sorted(alerts.receivers)),
                *(_route(it) for it in alerts.routes),
            ],
        },
        "receivers": receivers or [{"name": NOBODY}],
        "inhibit_rules": [_inhibition(*it) for it in _MUTES],
    }
    # Characters beyond the basic plane stand as they are: JSON writes them as a pair of escapes,
    # which YAML takes for two characters that there are not.
    return json.dumps(config, indent=2, ensure_ascii=False)


def deployment(
    alerts: Alerts, image: Text, url: Text, config_map: Text, claim: Text, secret: Text | None
) -> Manifest:
    """The spec of the Deployment. Another configuration makes another pod.

    url: where the cluster reaches it. secret: the name of the Secret with a key for each of
    `receiver_secrets.names`; None where there are none.
    """
    secrets = {"secret": {"secretName": secret, "defaultMode": 0o440}, "name": "secrets"}
    pod = common.pod(
        SERVER,
        securityContext=common.pod_security(USER),
        terminationGracePeriodSeconds=30,
        containers=[
            common.container(
                SERVER,
                image,
                [
                    "/bin/alertmanager",
                    f"--config.file=/etc/alertmanager/{CONFIG_FILE}",
                    f"--web.listen-address=0.0.0.0:{PORT}",
                    "--storage.path=/data",
                    f"--data.retention={_retention(alerts)}",
                    "--cluster.listen-address=",  # one replica has nobody to gossip with
                    "--web.external-url",
                    url,
                ],
                workingDir="/data",
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "10m", "memory": "48Mi"},
                    "limits": {"cpu": "500m", "memory": "128Mi"},
                },
                startupProbe=common.http_probe(
                    "/-/ready", "http", period=2, timeout=5, failures=60
                ),
                livenessProbe=common.http_probe(
                    "/-/healthy", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/-/ready", "http", period=5, timeout=5, failures=3
                ),
                volumeMounts=[
                    common.mount("config", "/etc/alertmanager", read_only=True),
                    common.mount("data", "/data"),
                    *(
                        [common.mount("secrets", SECRETS, read_only=True)]
                        if secret is not None
                        else []
                    ),
                ],
            )
        ],
        volumes=[
            {"name": "config", "configMap": {"name": config_map}},
            common.claim_volume("data", claim),
            *([secrets] if secret is not None else []),
        ],
    )
    annotations = {
        "slipway.dev/config-sha256": hashlib.sha256(configuration(alerts).encode()).hexdigest()
    }
    return common.single_replica(
        selector(), {"metadata": {"labels": labels(), "annotations": annotations}, "spec": pod}
    )


def _receiver(name: str, receiver: Receiver) -> Manifest:
    file = f"{SECRETS}/{name}"
    match receiver.kind:
        case "webhook":
            where = {"url": receiver.url} if receiver.url else {"url_file": file}
            return {"name": name, "webhook_configs": [{"send_resolved": True, **where}]}
        case "slack":
            slack = {
                "send_resolved": True,
                "api_url_file": file,
                "channel": receiver.channel,
                "username": "Slipway",
                "color": '{{ if eq .Status "resolved" }}good{{ else }}'
                f"{_by_severity('danger', 'warning')}{{{{ end }}}}",
                "title": f"{_STATUS} {_OF_MODEL}",
                "title_link": "",  # Alertmanager's own pages are not open to who reads this
                "text": _each_alert("*", _FOR_SLACK),
                "fallback": f"{_STATUS} {_OF_MODEL}",
            }
            return {"name": name, "slack_configs": [slack]}
        case "pagerduty":
            pager = {
                "send_resolved": True,
                "routing_key_file": file,
                "description": f"{_OF_MODEL}: {{{{ (index .Alerts 0).Annotations.summary }}}}",
                "severity": _by_severity("critical", "warning"),
                "client": "Slipway",
                "client_url": "",
                "source": "slipway",
                "class": "{{ .GroupLabels.alertname }}",
                "component": "{{ .GroupLabels.model_name }}",
                "details": {
                    "alerts": _each_alert(),
                    "model": "{{ .GroupLabels.model_name }}",
                    "runbook_url": "{{ (index .Alerts 0).Annotations.runbook_url }}",
                },
            }
            return {"name": name, "pagerduty_configs": [pager]}


def _each_alert(mark: str = "", escaped: str = "") -> str:
    """A template of the first ten alerts: summary, description, model and runbook of each.
    `mark` stands on both sides of a summary; `escaped` is what texts are piped through.
    """
    return (
        "{{ range $number, $_ := .Alerts }}{{ if lt $number 10 }}{{ if $number }}\n\n{{ end }}"
        f"{mark}{{{{ .Annotations.summary{escaped} }}}}{mark}"
        '{{ if eq .Status "resolved" }} (resolved){{ end }}'
        f"{{{{ with .Annotations.description }}}}\n{{{{ .{escaped} }}}}{{{{ end }}}}"
        "{{ with .Labels.model_name }}\nModel: {{ . }}{{ end }}"
        "{{ with .Labels.model_version }}, version {{ . }}{{ end }}"
        f"{_RUNBOOK}{{{{ end }}}}{{{{ end }}}}"
        "{{ if gt (len .Alerts) 10 }}\n\nThe first 10 of {{ len .Alerts }}.{{ end }}"
    )


def _by_severity(critical: str, warning: str) -> str:
    return f"{_CRITICAL}{{{{ if $critical }}}}{critical}{{{{ else }}}}{warning}{{{{ end }}}}"


def _to_everybody(alert: str, receivers: Sequence[str]) -> list[Manifest]:
    """Routes that give an alert to each of the receivers once: the last of them goes no further."""
    return [
        {
            "receiver": name,
            "matchers": [f'alertname="{alert}"'],
            **({"continue": True} if name != receivers[-1] else {}),
        }
        for name in receivers
    ]


def _route(route: AlertRoute) -> Manifest:
    matchers = [f'severity="{route.severity}"'] if route.severity else []
    if route.models:
        # Alertmanager anchors a regular expression at both ends; in these names no character is
        # more than itself.
        matchers.append(f'model_name=~"{"|".join(route.models)}"')
    return {"receiver": route.receiver, "matchers": matchers}


def _inhibition(source: Sequence[str], muted: str, equal: Sequence[str]) -> Manifest:
    name, *matchers = source
    return {
        "source_matchers": [f'alertname="{name}"', *matchers],
        "target_matchers": [f'alertname=~"{muted}"', 'severity!="critical"'],
        "equal": list(equal),
    }


def _retention(alerts: Alerts) -> str:
    """What has been sent is known for twice as long as it takes to be sent again."""
    hours = max(_LEAST_RETENTION, 2 * duration_seconds(alerts.repeat) / 3600)
    return f"{math.ceil(min(hours, _LONGEST_RETENTION))}h"
