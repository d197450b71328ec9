"""The manifests of the MLflow tracking server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import common
from .common import Manifest, Text

if TYPE_CHECKING:
    from .mlflow_database import Connection

SERVER = "mlflow"
PORT = 5000
EVERYWHERE = "0.0.0.0"  # noqa: S104  (of the pod: policies say who gets there)
# Of the artifacts in a bucket that holds more than them.
PREFIX = "mlflow"
# Kubernetes puts its value where a command says $(POD_IP).
_POD_ADDRESS = "POD_IP"
# Where the server's processes leave their counts; they are added up when somebody asks.
_COUNTS = f"{common.TMP}/metrics"

QUIET = {"HOME": common.TMP, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


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
    image: Text,
    claim: Text,
    destination: Text,
    endpoint: Text | None,
    credentials: Text | None,
    hosts: Text,
    *,
    region: str = "us-east-1",
    origins: Sequence[str] = (),
    database: tuple[Connection, Text] | None = None,
) -> Manifest:
    """The tracking server's pod.

    `destination` is the bucket's s3:// URL, `endpoint` the S3 service, `credentials` the Secret
    that holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; None, both, where they are AWS' own and
    the service account's. Clients get artifacts through the server and need no keys. `origins`:
    URLs whose pages may change things. `database`: a PostgreSQL and its URL for SQLAlchemy; without
    one, SQLite on the volume of `claim`.
    """
    command = ["mlflow", "server", "--host", EVERYWHERE, "--port", str(PORT), "--workers", "1"]
    address = database[1] if database else "sqlite:////data/mlflow.db"
    store = ["--backend-store-uri", address, "--serve-artifacts"]
    given = {"envFrom": [{"secretRef": {"name": credentials}}]} if credentials is not None else {}
    held = [common.mount("data", "/data")]
    volumes = [common.claim_volume("data", claim)]
    beside: Manifest = {}
    ending: Manifest = {}
    reached: list[Manifest] = []
    if database:
        held, volumes, reached = database[0].mounts(), database[0].volumes(), _pooled(database[0])
        beside = {"initContainers": [database[0].login(image)]} | _spread_out()
        # Another server is there meanwhile: requests go on to this one until all know that it goes.
        ending = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    return common.pod(
        SERVER,
        terminationGracePeriodSeconds=60 if database else 30,
        **beside,
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
                    *(["--cors-allowed-origins", ",".join(origins)] if origins else []),
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
                            **QUIET,
                            **(
                                {"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint is not None else {}
                            ),
                            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                            # It would keep providers' keys, under a passphrase that is public.
                            "MLFLOW_ENABLE_AI_GATEWAY": "false",
                            "AWS_DEFAULT_REGION": region,
                            "AWS_EC2_METADATA_DISABLED": "true",
                        }
                    ),
                    *reached,
                ],
                **given,
                **ending,
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
                volumeMounts=[*held, common.mount("tmp", common.TMP)],
            )
        ],
        volumes=[*volumes, common.scratch("tmp", "2Gi")],
    )


def deployment(template_pod: Manifest, replicas: int | None = None) -> Manifest:
    """The spec of the tracking server's Deployment: one pod, for SQLite has one writer; with a
    PostgreSQL, `replicas` of them, renewed one by one. Prometheus finds them by their annotations.
    """
    found = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)}
    template = {"metadata": {"labels": labels(), "annotations": found}, "spec": template_pod}
    single = common.single_replica(selector(), template)
    if replicas is None:
        return single
    one_by_one = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return single | {"replicas": replicas, "strategy": one_by_one}


def _pooled(database: Connection) -> list[Manifest]:
    """The environment of a server with a PostgreSQL: connections are few, and none grows old."""
    return [
        *database.environment(),
        *common.env(
            {
                "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5",
                "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "10",
                "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",
            }
        ),
    ]


def _spread_out() -> Manifest:
    """The fields of a pod that is best on another node and in another zone than its like."""
    return {
        "affinity": common.apart(selector()),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": topology,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector()},
                "matchLabelKeys": ["pod-template-hash"],
            }
            for topology in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
    }
