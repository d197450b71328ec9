"""The values of KEDA's chart, and who may reach its two pods.

The names are those of KEDA's official chart, and hold for any chart that keeps to them.
"""

from __future__ import annotations

from settings.scaling import Keda

from . import network
from .common import Manifest, Text

NAMESPACE = "keda"
OPERATOR = "keda-operator"
ADAPTER = "keda-operator-metrics-apiserver"
METRICS_PORT = 8080
SERVICE_PORT = 9666
ADAPTER_PORT = 6443


def operator_selector() -> dict[str, str]:
    """The labels that pick the operator's pod, which asks Prometheus."""
    return {"app": OPERATOR}


def operator_peer() -> Manifest:
    """The peer that is the operator, for the policy of the Prometheus that it asks."""
    return network.pods(operator_selector(), NAMESPACE)


def adapter_selector() -> dict[str, str]:
    """The labels that pick the pod that the API server gets metrics from."""
    return {"app": ADAPTER}


def values(keda: Keda, watched: Text) -> Manifest:
    """Values of the chart. `watched`: the namespace whose ScaledObjects KEDA obeys, and no other.

    It reads no Secret but its own certificates, and scales nothing but Deployments and
    StatefulSets. Its webhooks stay out: what they would refuse, this project never makes.
    """
    own_secrets = {"restrict": {"secret": True}}
    return {
        "image": {
            "pullPolicy": "IfNotPresent",
            "keda": image(keda.operator),
            "metricsApiServer": image(keda.adapter),
        },
        "watchNamespace": watched,
        "webhooks": {"enabled": False},
        "permissions": {"operator": own_secrets, "metricServer": own_secrets},
        "rbac": {"enabledCustomScaledRefKinds": False, "aggregateToDefaultRoles": False},
        "prometheus": {"operator": {"enabled": True, "port": METRICS_PORT}},
        "resources": {
            "operator": {
                "requests": {"cpu": "50m", "memory": "128Mi"},
                "limits": {"cpu": "1", "memory": "512Mi"},
            },
            "metricServer": {
                "requests": {"cpu": "50m", "memory": "96Mi"},
                "limits": {"cpu": "1", "memory": "256Mi"},
            },
        },
    }


def image(name: str) -> Manifest:
    """An image's name in the three parts that the chart puts together again.

    Without a registry it is Docker's; without a tag it is the one of the chart's version. A digest
    takes the tag's place: the chart only ever puts a colon before it.
    """
    first, _, rest = name.partition("/")
    hosted = bool(rest) and (first == "localhost" or any(mark in first for mark in ".:"))
    registry, path = (first, rest) if hosted else ("docker.io", name)
    repository, _, tag = path.rpartition(":")
    return {
        "registry": registry,
        "repository": repository or tag,
        "tag": tag if repository else "",
    }


def operator_policy(scrapers: Manifest) -> Manifest:
    """The spec of the operator's NetworkPolicy: questions from the adapter, metrics for
    `scrapers`.
    """
    return {
        "podSelector": {"matchLabels": operator_selector()},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [network.pods(adapter_selector(), NAMESPACE)],
                "ports": [network.tcp(SERVICE_PORT)],
            },
            {"from": [scrapers], "ports": [network.tcp(METRICS_PORT)]},
        ],
    }


def adapter_policy() -> Manifest:
    """The spec of the adapter's NetworkPolicy: API servers, which may call from anywhere. It lets
    nobody have a metric whom the API server would not.
    """
    return {
        "podSelector": {"matchLabels": adapter_selector()},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [network.tcp(ADAPTER_PORT)]}],
    }
