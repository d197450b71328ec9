"""The manifests of a comparer: it gets a copy of a model's requests, asks stable and the shadow
version the same, and counts how their answers differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import common, network
from .common import Manifest, Text
from .model_server import PORT, SERVICE_PORT

GRACE_SECONDS = 10


def name(model: str) -> str:
    """`churn-comparer`."""
    return f"{model}-comparer"


def selector(model: str) -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector("shadow-comparer", name(model))


def labels(model: str) -> dict[str, str]:
    """The labels of its objects and its pod. None of them is a model's or a version's: a pod that
    had them would be taken for a model server, and its metrics speak of two versions.
    """
    return common.labels("shadow-comparer", name(model), "shadow-comparer")


def deployment(
    model: str,
    image: Text,
    stable: tuple[int, Text],
    shadow: tuple[int, Text],
    seconds: int | None = None,
) -> Manifest:
    """The spec of the Deployment. `stable` and `shadow` are a version and its server's URL.

    seconds: how long an answer is waited for; None means as long as the comparer does by itself.
    """
    return {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": selector(model)},
        "template": {
            "metadata": {
                "labels": labels(model),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": pod(model, image, stable, shadow, seconds),
        },
    }


def pod(
    model: str,
    image: Text,
    stable: tuple[int, Text],
    shadow: tuple[int, Text],
    seconds: int | None = None,
) -> Manifest:
    """The pod. It holds no model: what it counts is all that it loses when it goes."""
    return common.pod(
        name(model),
        terminationGracePeriodSeconds=GRACE_SECONDS,
        containers=[
            common.container(
                "comparer",
                image,
                ["python", "-m", "slipway_runtime.compare"],
                env=common.env(
                    {
                        "MODEL_NAME": model,
                        "STABLE_VERSION": str(stable[0]),
                        "STABLE_URL": stable[1],
                        "SHADOW_VERSION": str(shadow[0]),
                        "SHADOW_URL": shadow[1],
                        "PORT": str(PORT),
                        "HOME": common.TMP,
                    }
                    | ({"COMPARE_SECONDS": str(seconds)} if seconds else {})
                ),
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "50m", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                startupProbe=common.http_probe(
                    "/health/live", "http", period=2, timeout=5, failures=30
                ),
                livenessProbe=common.http_probe(
                    "/health/live", "http", period=10, timeout=5, failures=3
                ),
                readinessProbe=common.http_probe(
                    "/health/live", "http", period=5, timeout=5, failures=2
                ),
                volumeMounts=[common.mount("tmp", common.TMP)],
            )
        ],
        volumes=[common.scratch("tmp", "64Mi")],
    )


def service(model: str) -> Manifest:
    """The spec of the Service."""
    return common.service(selector(model), SERVICE_PORT, "http")


def network_policy(model: str, clients: list[Manifest], servers: Sequence[Manifest]) -> Manifest:
    """The spec of the NetworkPolicy: in from `clients`, out to the name server and to `servers`,
    its two model servers and those who hold requests for them.
    """
    out = network.egress([{"to": list(servers), "ports": [network.tcp(PORT)]}])
    return network.ingress(selector(model), PORT, clients) | out
