"""The manifests of Grafana: its data sources and dashboards stand in files that it only reads.

The files: https://grafana.com/docs/grafana/latest/administration/provisioning/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from settings.exposure import Exposure

from . import common
from .common import Manifest, Text

SERVER = "grafana"
PORT = 3000
USER = 472
PASSWORD_KEY = "password"  # noqa: S105  (the key in the Secret, not what it holds)
DATASOURCES_FILE = "datasources.yaml"
PROVIDER_FILE = "dashboards.yaml"

_PROVISIONING = "/etc/grafana/provisioning"
_DASHBOARDS = "/etc/slipway/dashboards"
_SECRETS = "/etc/slipway/secrets"
_HOME = "fleet.json"
# How often Prometheus scrapes, from which Grafana reckons the least window of a rate.
_SCRAPE_INTERVAL = "5s"


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(SERVER, SERVER, "monitoring")


def datasources(prometheus_url: str, alertmanager_url: str | None = None) -> str:
    """The file of the data sources, as JSON, which is YAML too: Prometheus, and Alertmanager if
    there is one. Nobody edits them in Grafana.
    """
    found = [
        {
            "name": "Prometheus",
            "uid": "slipway-prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": prometheus_url,
            "isDefault": True,
            "editable": False,
            "jsonData": {
                "httpMethod": "POST",
                "timeInterval": _SCRAPE_INTERVAL,
                "prometheusType": "Prometheus",
            }
            | ({"alertmanagerUid": "slipway-alertmanager"} if alertmanager_url else {}),
        }
    ]
    if alertmanager_url:
        found.append(
            {
                "name": "Alertmanager",
                "uid": "slipway-alertmanager",
                "type": "alertmanager",
                "access": "proxy",
                "url": alertmanager_url,
                "editable": False,
                # It shows what Prometheus' rules have sent; Grafana sends it nothing.
                "jsonData": {"implementation": "prometheus", "handleGrafanaManagedAlerts": False},
            }
        )
    # `prune` takes away a data source that is no longer in the file.
    return json.dumps({"apiVersion": 1, "prune": True, "datasources": found}, indent=2)


def provider(folder: str) -> str:
    """The file that says where the dashboards lie, and that they go to `folder`, read only."""
    found = {
        "name": "slipway",
        "orgId": 1,
        "folder": folder,
        "folderUid": "slipway",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": _DASHBOARDS, "foldersFromFilesStructure": False},
    }
    return json.dumps({"apiVersion": 1, "providers": [found]}, indent=2)


def environment(exposure: Exposure) -> dict[str, str]:
    """Its settings: nobody comes in without the password, and nothing is sent to or fetched from
    its makers.

    The keys: https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/
    """
    off = (
        "ANALYTICS_REPORTING_ENABLED",
        "ANALYTICS_CHECK_FOR_UPDATES",
        "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "ANALYTICS_FEEDBACK_LINKS_ENABLED",
        "AUTH_ANONYMOUS_ENABLED",
        "NEWS_NEWS_FEED_ENABLED",
        "PLUGINS_PLUGIN_ADMIN_ENABLED",
        "SNAPSHOTS_EXTERNAL_ENABLED",
        "USERS_ALLOW_ORG_CREATE",
        "USERS_ALLOW_SIGN_UP",
    )
    on = (
        "PLUGINS_PREINSTALL_DISABLED",
        "PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED",
        "SECURITY_DISABLE_GRAVATAR",
    )
    return {
        **{f"GF_{key}": "false" for key in off},
        **{f"GF_{key}": "true" for key in on},
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{_DASHBOARDS}/{_HOME}",
        "GF_LOG_MODE": "console",
        "GF_LOG_CONSOLE_FORMAT": "json",
        "GF_SECURITY_ADMIN_USER": "admin",
        "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{_SECRETS}/{PASSWORD_KEY}",
        "GF_SERVER_HTTP_PORT": str(PORT),
        **({"GF_SERVER_ROOT_URL": exposure.url} if exposure.url else {}),
        **(
            {"GF_SECURITY_COOKIE_SECURE": "true"}
            if (exposure.url or "").startswith("https://")
            else {}
        ),
    }


def deployment(
    image: Text,
    exposure: Exposure,
    provisioning: Text,
    dashboards: Mapping[str, Text],
    secret: Text,
    digest: Text,
) -> Manifest:
    """The spec of the Deployment.

    provisioning: the ConfigMap with DATASOURCES_FILE and PROVIDER_FILE. dashboards: a file's name
    -> the ConfigMap that holds it. secret: the Secret with the password under PASSWORD_KEY.
    digest: of the provisioning files, which are read at the start alone; the dashboards are read
    again when they change.
    """
    pod = common.pod(
        SERVER,
        securityContext=common.pod_security(USER),
        terminationGracePeriodSeconds=30,
        containers=[
            common.container(
                SERVER,
                image,
                # The image's own start: it reads the settings whose names end in __FILE.
                ["/run.sh"],
                env=common.env(environment(exposure)),
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "50m", "memory": "192Mi"},
                    "limits": {"cpu": "1", "memory": "512Mi"},
                },
                startupProbe=common.http_probe(
                    "/api/health", "http", period=2, timeout=5, failures=90
                ),
                livenessProbe=common.http_probe(
                    "/api/health", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/api/health", "http", period=5, timeout=5, failures=3
                ),
                volumeMounts=[
                    common.mount("datasources", f"{_PROVISIONING}/datasources", read_only=True),
                    common.mount("provider", f"{_PROVISIONING}/dashboards", read_only=True),
                    common.mount("dashboards", _DASHBOARDS, read_only=True),
                    common.mount("secrets", _SECRETS, read_only=True),
                    common.mount("data", "/var/lib/grafana"),
                    common.mount("tmp", common.TMP),
                ],
            )
        ],
        volumes=[
            _file("datasources", provisioning, DATASOURCES_FILE),
            _file("provider", provisioning, PROVIDER_FILE),
            {
                "name": "dashboards",
                "projected": {
                    "sources": [
                        {"configMap": {"name": name, "items": [{"key": key, "path": key}]}}
                        for key, name in sorted(dashboards.items())
                    ]
                },
            },
            {"name": "secrets", "secret": {"secretName": secret, "defaultMode": 0o440}},
            common.scratch("data", "1Gi"),
            common.scratch("tmp", "256Mi"),
        ],
    )
    annotations = {"slipway.dev/config-sha256": digest}
    return common.single_replica(
        selector(), {"metadata": {"labels": labels(), "annotations": annotations}, "spec": pod}
    )


def digest(*files: str) -> str:
    """The SHA-256 of these texts, in hexadecimal."""
    return hashlib.sha256("\0".join(files).encode()).hexdigest()


def _file(volume: str, config_map: Text, key: str) -> Manifest:
    return {
        "name": volume,
        "configMap": {"name": config_map, "items": [{"key": key, "path": key}]},
    }
