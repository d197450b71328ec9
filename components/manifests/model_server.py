"""The manifests of a model server: one version of a model, behind a Service of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from settings.model import Resources
from settings.scaling import Scaling
from settings.tracing import Collector
from settings.types import cpu_millis

from . import common, network, placement, tracing
from .common import MODEL_LABEL, SERVES_LABEL, VERSION_LABEL, Manifest, Text

PORT = 8080
SERVICE_PORT = 80
CPU_BURST = 4

# A pod that is told to go: the gateways forget it within PRE_STOP seconds, then it answers "not
# ready" and finishes what it has for up to DRAIN + REQUEST seconds, which is less than the grace
# period.
PRE_STOP_SECONDS = 5
DRAIN_SECONDS = 5
REQUEST_SECONDS = 30
GRACE_SECONDS = PRE_STOP_SECONDS + DRAIN_SECONDS + REQUEST_SECONDS + 5

# How long the fetch waits for a tracking server that does not answer, and how long a rollout may
# stand still.
FETCH_SECONDS = 120
PROGRESS_SECONDS = 180

# What the pods of every model server have, and none that holds requests for them.
OWN_LABEL = {"app.kubernetes.io/name": "model-server"}

_LONGEST_NAME = 63  # of a Service, a DNS label

CONTAINER = "server"
# The fetch alone gets credentials; the model's own code runs in the server, and gets none.
# https://github.com/aws/amazon-eks-pod-identity-webhook
_NO_CREDENTIALS = {"eks.amazonaws.com/skip-containers": CONTAINER}


@dataclass(frozen=True)
class Artifacts:
    """Where artifacts are read without MLflow in between: `destination`, as in
    `s3://bucket/mlflow`, is its `--artifacts-destination`; `region` of AWS is the bucket's.
    """

    destination: str
    region: str


@dataclass(frozen=True)
class Server:
    """The pure part of a model server: what its manifests are made from.

    floor: replicas at least, whatever `scaling.min` says; None means no floor but that.
    collector: of traces; None where there is none. gpu: the nodes of a model with GPUs; None where
    the request for one finds them. artifacts: where they are read; None means by way of MLflow.
    """

    model: str
    version: int
    resources: Resources
    scaling: Scaling
    allow_pickle: bool = False
    floor: int | None = None
    collector: Collector | None = None
    gpu: placement.GpuPool | None = None
    artifacts: Artifacts | None = None

    @property
    def name(self) -> str:
        """`churn-v1`: by model and version, never by role."""
        return _name(self.model, self.version)

    @property
    def selector(self) -> dict[str, str]:
        """The labels that pick its pods."""
        return selector(self.model, self.version)

    @property
    def min_replicas(self) -> int:
        """The fewest replicas an autoscaler may leave it; never more than the most it may have."""
        return min(max(self.scaling.min, self.floor or 0), self.scaling.max)

    @property
    def pods_service(self) -> str:
        """The name of the Service that reaches its pods alone, where requests may be held."""
        long = f"{self.name}-pods"
        if len(long) <= _LONGEST_NAME:
            return long
        return f"pods-{hashlib.sha256(self.name.encode()).hexdigest()[:32]}"

    @property
    def reached_by(self) -> dict[str, str]:
        """The labels that pick who answers its requests: its pods, and those that hold requests
        while there is none.
        """
        return {f"{SERVES_LABEL}{self.name}": "true"} if self.scaling.to_zero else self.selector

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its objects and pods."""
        return common.labels("model-server", self.name, "model-server") | {
            "app.kubernetes.io/version": str(self.version),
            MODEL_LABEL: self.model,
            VERSION_LABEL: str(self.version),
        }


def selector(model: str, version: int) -> dict[str, str]:
    """The labels that pick the pods of one version's model server."""
    return common.selector("model-server", _name(model, version))


def deployment(server: Server, image: Text, tracking_uri: Text) -> Manifest:
    """The spec of the Deployment. It holds no replicas: the autoscaler owns them."""
    return {
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": PROGRESS_SECONDS,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": server.selector},
        "template": {
            "metadata": {
                "labels": server.labels | server.reached_by,
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(PORT),
                    "prometheus.io/path": "/metrics",
                }
                | (_NO_CREDENTIALS if server.artifacts else {}),
            },
            "spec": pod(server, image, tracking_uri),
        },
    }


def pod(server: Server, image: Text, tracking_uri: Text) -> Manifest:
    """The pod: fetch and verify the version, then serve it.

    Both containers refuse a pickled model unless they are told otherwise: nothing says that what
    the server finds is what the fetch has left.
    """
    path = f"/models/{server.model}"
    mounts = [common.mount("models", "/models"), common.mount("tmp", common.TMP)]
    fetch = [
        "python",
        "-m",
        "slipway_runtime.fetch",
        "--model",
        server.model,
        "--version",
        str(server.version),
        "--out",
        path,
        "--timeout",
        str(FETCH_SECONDS),
    ]
    found = {"MLFLOW_TRACKING_URI": tracking_uri, "HOME": common.TMP}
    if server.artifacts:
        fetch += ["--from-bucket", server.artifacts.destination]
        found |= {"AWS_REGION": server.artifacts.region}
        found |= {"AWS_DEFAULT_REGION": server.artifacts.region}
        found |= {"AWS_EC2_METADATA_DISABLED": "true"}
    return common.pod(
        server.name,
        terminationGracePeriodSeconds=GRACE_SECONDS,
        affinity=common.apart(server.selector),
        topologySpreadConstraints=[
            _spread(server, "kubernetes.io/hostname"),
            _spread(server, "topology.kubernetes.io/zone"),
        ],
        **(placement.scheduling(server.gpu) if server.gpu and server.resources.gpu else {}),
        initContainers=[
            common.container(
                "fetch",
                image,
                [*fetch, *(["--allow-pickle"] if server.allow_pickle else [])],
                env=common.env(found),
                resources=resources(server.resources, gpu=False),
                volumeMounts=mounts,
            )
        ],
        containers=[
            common.container(
                CONTAINER,
                image,
                ["python", "-m", "slipway_runtime.server"],
                env=common.env(
                    {
                        "MODEL_NAME": server.model,
                        "MODEL_VERSION": str(server.version),
                        "MODEL_PATH": path,
                        "PORT": str(PORT),
                        "DRAIN_SECONDS": str(DRAIN_SECONDS),
                        "GRACE_SECONDS": str(REQUEST_SECONDS),
                        "REQUEST_SECONDS": str(REQUEST_SECONDS),
                        "HOME": common.TMP,
                    }
                    | ({"ALLOW_PICKLE": "true"} if server.allow_pickle else {})
                )
                + (tracing.environment(server.collector, server.name) if server.collector else []),
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources=resources(server.resources, gpu=True),
                startupProbe=common.http_probe(
                    "/health/startup", "http", period=2, timeout=5, failures=60
                ),
                livenessProbe=common.http_probe(
                    "/health/live", "http", period=10, timeout=5, failures=3
                ),
                readinessProbe=common.http_probe(
                    "/health/ready", "http", period=5, timeout=5, failures=2
                ),
                lifecycle={"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                volumeMounts=[
                    common.mount("models", "/models", read_only=True),
                    common.mount("tmp", common.TMP),
                ],
            )
        ],
        volumes=[common.scratch("models", server.resources.disk), common.scratch("tmp", "512Mi")],
    )


def resources(wanted: Resources, *, gpu: bool) -> Manifest:
    """Requests and limits: memory may not exceed its request, CPU may burst to CPU_BURST times
    it.
    """
    limits: Manifest = {"cpu": f"{CPU_BURST * cpu_millis(wanted.cpu)}m", "memory": wanted.memory}
    if gpu and wanted.gpu:
        limits["nvidia.com/gpu"] = str(wanted.gpu)
    return {"requests": {"cpu": wanted.cpu, "memory": wanted.memory}, "limits": limits}


def service(server: Server) -> Manifest:
    """The spec of the Service."""
    return common.service(server.reached_by, SERVICE_PORT, "http")


def pods_service(server: Server, *, sidecars: bool = False) -> Manifest:
    """The spec of the Service that reaches its pods alone, from the moment they have an address:
    who asks there finds out for himself which of them are ready, sooner than Kubernetes.

    sidecars: whether one stands between. Then it is told that this is no HTTP, so that all that
    goes over a connection goes to one pod.
    """
    spec = common.service(server.selector, SERVICE_PORT, "http")
    if sidecars:
        spec["ports"] = [port | {"appProtocol": "tcp"} for port in spec["ports"]]
    return spec | {"publishNotReadyAddresses": True}


def network_policy(
    server: Server, clients: list[Manifest], tracking: Manifest, tracking_port: int
) -> Manifest:
    """The spec of the NetworkPolicy: in from `clients`, out to the name server, to MLflow, to the
    collector of traces, if there is one, and to S3 where artifacts are read there, which has public
    addresses behind a gateway endpoint, too.
    """
    traces = [tracing.way_out(server.collector)] if server.collector else []
    store = [network.internet(443), network.pod_identity()] if server.artifacts else []
    out = network.egress(
        [{"to": [tracking], "ports": [network.tcp(tracking_port)]}, *traces, *store]
    )
    return network.ingress(server.selector, PORT, clients) | out


def _name(model: str, version: int) -> str:
    return f"{model}-v{version}"


def _spread(server: Server, topology: str) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": server.selector},
        "matchLabelKeys": ["pod-template-hash"],
    }
