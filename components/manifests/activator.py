"""The manifests of the activator: it holds the requests for model servers that have no pod, until
one is there.

Its pods are endpoints of the Services of all such servers, by a label for each. The gateway turns
to them only while a server has no ready pod of its own (see `route.destination_rule`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from . import common, keda, network
from .common import SERVES_LABEL, Manifest, Text
from .model_server import PORT, PRE_STOP_SECONDS, REQUEST_SECONDS, SERVICE_PORT, Server

NAME = "activator"
NAMESPACE = "models"
# Where it is asked about itself, apart from the requests that it holds.
OWN_PORT = 8081
REPLICAS = 2
GRACE_SECONDS = PRE_STOP_SECONDS + REQUEST_SECONDS + 5


def selector() -> dict[str, str]:
    """The labels that pick its pods."""
    return common.selector(NAME, NAME)


def labels() -> dict[str, str]:
    """The labels of its objects. None of them is a model's or a version's: it speaks of many."""
    return common.labels(NAME, NAME, NAME)


def peer(namespace: Text) -> Manifest:
    """Its pods, as a NetworkPolicy names them."""
    return network.pods(selector(), namespace)


def waiting_url(server: str, namespace: str = NAMESPACE) -> str:
    """Where KEDA asks how many requests wait for `server`. It asks each pod of this Service, at the
    port of the pod.

    With `.svc`: KEDA 2.21 takes the port for a part of a namespace that ends the host's name.
    """
    return f"http://{NAME}.{namespace}.svc:{OWN_PORT}/waiting/{server}"


def deployment(servers: Sequence[Server], image: Text) -> Manifest:
    """The spec of the Deployment. A server that comes or goes changes its pods' labels, and so
    renews them one by one; what a pod that goes still holds, the gateway asks of another.
    """
    serves = {f"{SERVES_LABEL}{server.name}": "true" for server in servers}
    return {
        "replicas": REPLICAS,
        "revisionHistoryLimit": 1,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": selector()},
        "template": {
            "metadata": {
                "labels": labels() | serves,
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(OWN_PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": pod(servers, image),
        },
    }


def pod(servers: Sequence[Server], image: Text) -> Manifest:
    """The pod. It knows the servers by name and asks nothing of Kubernetes."""
    known = {
        server.name: {
            "model": server.model,
            "version": str(server.version),
            "url": f"http://{server.pods_service}:{SERVICE_PORT}",
            "seconds": server.scaling.cold_start_seconds,
        }
        for server in servers
    }
    return common.pod(
        NAME,
        terminationGracePeriodSeconds=GRACE_SECONDS,
        affinity=common.apart(selector()),
        containers=[
            common.container(
                NAME,
                image,
                ["python", "-m", "slipway_runtime.activator"],
                env=common.env(
                    {
                        "SERVERS": json.dumps(known, sort_keys=True),
                        "PORT": str(PORT),
                        "OWN_PORT": str(OWN_PORT),
                        "REQUEST_SECONDS": str(REQUEST_SECONDS),
                        "HOME": common.TMP,
                    }
                ),
                ports=[
                    {"name": "http", "containerPort": PORT, "protocol": "TCP"},
                    {"name": "own", "containerPort": OWN_PORT, "protocol": "TCP"},
                ],
                resources={
                    "requests": {"cpu": "50m", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                startupProbe=common.http_probe(
                    "/health/live", "own", period=2, timeout=5, failures=30
                ),
                livenessProbe=common.http_probe(
                    "/health/live", "own", period=10, timeout=5, failures=3
                ),
                readinessProbe=common.http_probe(
                    "/health/live", "own", period=5, timeout=5, failures=2
                ),
                lifecycle={"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                volumeMounts=[common.mount("tmp", common.TMP)],
            )
        ],
        volumes=[common.scratch("tmp", "64Mi")],
    )


def service() -> Manifest:
    """The spec of its own Service: by it KEDA finds its pods."""
    return common.service(selector(), OWN_PORT, "own")


def network_policy(
    servers: Sequence[Server], clients: Sequence[Manifest], scraper: Manifest, namespace: Text
) -> Manifest:
    """The spec of the NetworkPolicy: requests from `clients`, questions about itself from KEDA's
    operator and from `scraper`; out to the name server and to `servers`.
    """
    own = [network.pods(server.selector, namespace) for server in servers]
    out = network.egress([{"to": own, "ports": [network.tcp(PORT)]}])
    asked = {"from": [keda.operator_peer(), scraper], "ports": [network.tcp(OWN_PORT)]}
    rules = network.ingress(selector(), PORT, clients)
    return rules | {"ingress": [*rules["ingress"], asked]} | out
