"""The manifests of the MLflow tracking server, and of the Job that registers the demo model
there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from . import common
from .common import Manifest, Text

SERVER = "mlflow"
PORT = 5000
EVERYWHERE = "0.0.0.0"  # noqa: S104  (of the pod: policies say who gets there)
TRAINING = "train-demo"
# Kubernetes puts its value where a command says $(POD_IP).
_POD_ADDRESS = "POD_IP"
# Where the server's processes leave their counts; they are added up when somebody asks.
_COUNTS = f"{common.TMP}/metrics"

_QUIET = {"HOME": common.TMP, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


def selector() -> dict[str, str]:
    """The labels that pick the tracking server's pod."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of the tracking server's objects."""
    return common.labels(SERVER, SERVER, "model-registry")


def allowed_hosts(namespace: str, urls: Sequence[str | None]) -> str:
    """What clients may call the server, for its guard against DNS rebinding: its Service, the hosts
    of `urls`, and its pod's own address, by which Prometheus calls it.
    """
    service = [
        SERVER,
        f"{SERVER}.{namespace}",
        f"{SERVER}.{namespace}.svc",
        f"{SERVER}.{namespace}.svc.cluster.local",
    ]
    hosts = [f"{name}:{PORT}" for name in service] + [urlsplit(url).netloc for url in urls if url]
    # Whoever forwards a port to it calls it by these, from a port of their choice.
    hosts += ["127.0.0.1:*", "localhost:*", f"$({_POD_ADDRESS}):{PORT}"]
    return ",".join(dict.fromkeys(hosts))


def pod(
    image: Text, claim: Text, destination: Text, endpoint: Text, credentials: Text, hosts: Text
) -> Manifest:
    """The tracking server's pod.

    `destination` is the bucket's s3:// URL, `endpoint` the S3 service, `credentials` the Secret
    that holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Clients get artifacts through the
    server and need no keys.
    """
    command = ["mlflow", "server", "--host", EVERYWHERE, "--port", str(PORT), "--workers", "1"]
    store = ["--backend-store-uri", "sqlite:////data/mlflow.db", "--serve-artifacts"]
    return common.pod(
        SERVER,
        terminationGracePeriodSeconds=30,
        containers=[
            common.container(
                SERVER,
                image,
                [
                    *command,
                    *store,
                    "--artifacts-destination",
                    destination,
                    "--allowed-hosts",
                    hosts,
                    "--expose-prometheus",
                    _COUNTS,
                ],
                env=[
                    {
                        "name": _POD_ADDRESS,
                        "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                    },
                    *common.env(
                        {
                            **_QUIET,
                            "MLFLOW_S3_ENDPOINT_URL": endpoint,
                            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                            "AWS_DEFAULT_REGION": "us-east-1",
                            "AWS_EC2_METADATA_DISABLED": "true",
                        }
                    ),
                ],
                envFrom=[{"secretRef": {"name": credentials}}],
                workingDir=common.TMP,
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                    "limits": {"cpu": "2", "memory": "1Gi"},
                },
                startupProbe=common.http_probe("/health", "http", period=2, timeout=5, failures=90),
                livenessProbe=common.http_probe(
                    "/health", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/health", "http", period=5, timeout=5, failures=3
                ),
                volumeMounts=[common.mount("data", "/data"), common.mount("tmp", common.TMP)],
            )
        ],
        volumes=[common.claim_volume("data", claim), common.scratch("tmp", "2Gi")],
    )


def deployment(template_pod: Manifest) -> Manifest:
    """The spec of the tracking server's Deployment: one pod, for SQLite has one writer. Prometheus
    finds it by its annotations.
    """
    found = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)}
    return common.single_replica(
        selector(),
        {"metadata": {"labels": labels(), "annotations": found}, "spec": template_pod},
    )


def training_selector() -> dict[str, str]:
    """The labels that pick the training Job's pod."""
    return common.selector(TRAINING, TRAINING)


def training_labels() -> dict[str, str]:
    """The labels of the training Job and its pod."""
    return common.labels(TRAINING, TRAINING, "training")


def training_job(
    image: Text, script: str, config_map: Text, tracking_uri: Text, model: str
) -> Manifest:
    """The spec of the Job that runs the demo's training `script`, mounted from `config_map`.

    Another script is another Job: the digest of the script stands in the pod.
    """
    digest = hashlib.sha256(script.encode()).hexdigest()
    return {
        "backoffLimit": 2,
        "activeDeadlineSeconds": 540,
        "template": {
            "metadata": {
                "labels": training_labels(),
                "annotations": {"slipway.dev/script-sha256": digest},
            },
            "spec": common.pod(
                TRAINING,
                restartPolicy="Never",
                containers=[
                    common.container(
                        "train",
                        image,
                        ["python", "/demo/train_churn.py"],
                        env=common.env(
                            {
                                **_QUIET,
                                "MLFLOW_TRACKING_URI": tracking_uri,
                                "MODEL_NAME": model,
                                # Left alone, the client asks the server for a link to the bucket,
                                # which only the server may reach.
                                "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
                                "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
                            }
                        ),
                        workingDir=common.TMP,
                        resources={
                            "requests": {"cpu": "250m", "memory": "1Gi"},
                            "limits": {"cpu": "2", "memory": "1Gi"},
                        },
                        volumeMounts=[
                            common.mount("script", "/demo", read_only=True),
                            common.mount("tmp", common.TMP),
                        ],
                    )
                ],
                volumes=[
                    {"name": "script", "configMap": {"name": config_map}},
                    common.scratch("tmp", "2Gi"),
                ],
            ),
        },
    }
