"""The manifests of the mesh between pods: Istio's CNI plugin, the sidecars, who must show a
certificate, and who may ask whom.

Source: Istio's PeerAuthentication, AuthorizationPolicy and DestinationRule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from settings.platform import Istio

from . import network
from .common import Manifest, Text

CNI_NAMESPACE = "istio-cni"
SYSTEM_NAMESPACE = "istio-system"
# Has istiod give each new pod of a namespace a sidecar.
INJECTED = {"istio-injection": "enabled"}
# The label of a pod that gets none there.
LEFT_OUT = {"sidecar.istio.io/inject": "false"}
# The annotation with the version of the proxy, which istiod puts there without a trace in the spec.
VERSION = "slipway.dev/istio"

# Of a sidecar: where istiod hands out configuration and certificates, and where the sidecar shows
# its pod's metrics, which is no part of the mesh.
XDS_PORT = 15012
METRICS_PORT = 15020

# Istio's name for the mesh that a program is in, whatever its trust domain is called.
_TRUST_DOMAIN = "cluster.local"


def cni_values(istio: Istio) -> Manifest:
    """Values of chart `istio-cni`: the plugin that leads a pod's traffic through its sidecar, which
    then needs no right to do it itself.
    """
    return {
        "cniBinDir": istio.cni_bin_dir,
        "cniConfDir": istio.cni_conf_dir,
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "seccompProfile": {"type": "RuntimeDefault"},
        "global": {"hub": istio.hub, "tag": istio.tag},
    }


def sidecar_values() -> Manifest:
    """The values of chart `istio-discovery` that are about sidecars.

    They are native ones, which start before a pod's other init containers and end after its last
    container: a fetch, a Job and a server that drains find theirs there.
    """
    return {
        "cni": {"enabled": True},
        "env": {"ENABLE_NATIVE_SIDECARS": "true"},
        "meshConfig": {"enablePrometheusMerge": True},
        "global": {
            "proxy": {
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                "seccompProfile": {"type": "RuntimeDefault"},
                "excludeIPRanges": network.POD_IDENTITY,
            }
        },
    }


def injected(workload: Manifest, version: str | None = None) -> Manifest:
    """The spec of a workload whose pods have a sidecar of that version of Istio. The label has
    those made anew that were there before the mesh, and the version those of another one. Istio
    would have the metrics of every sidecar scraped: those of pods that ask for it are enough.
    version: None for a pod that ends by itself.
    """
    template = workload["template"]
    told = {"prometheus.io/scrape": "false"} | template["metadata"].get("annotations", {})
    told |= {VERSION: version} if version else {}
    labels = template["metadata"]["labels"] | {"sidecar.istio.io/inject": "true"}
    metadata = template["metadata"] | {"labels": labels, "annotations": told}
    return workload | {"template": template | {"metadata": metadata}}


def strict() -> Manifest:
    """The spec of the mesh's PeerAuthentication: nobody gets in without a certificate."""
    return {"mtls": {"mode": "STRICT"}}


def plain_port(selects: Mapping[str, str], port: int) -> Manifest:
    """The spec of the PeerAuthentication of pods with one port that takes no certificate."""
    return {
        "selector": {"matchLabels": dict(selects)},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {str(port): {"mode": "PERMISSIVE"}},
    }


def nobody() -> Manifest:
    """The spec of an AuthorizationPolicy that lets nobody ask any pod of its namespace."""
    return {}


def account(name: str, namespace: str) -> str:
    """A service account, as an AuthorizationPolicy names it."""
    return f"{_TRUST_DOMAIN}/ns/{namespace}/sa/{name}"


def callers(
    port: int,
    accounts: Sequence[Text] = (),
    namespaces: Sequence[Text] = (),
    methods: Sequence[str] = (),
) -> Manifest:
    """A rule of an AuthorizationPolicy: these service accounts, and all of these namespaces, may
    ask at `port`; without any, whoever gets to it. methods: of HTTP; none means every one.
    """
    sources = []
    if accounts:
        sources.append({"source": {"principals": list(accounts)}})
    if namespaces:
        sources.append({"source": {"namespaces": list(namespaces)}})
    asked = {"ports": [str(port)]} | ({"methods": list(methods)} if methods else {})
    return {**({"from": sources} if sources else {}), "to": [{"operation": asked}]}


def strangers(port: int) -> Manifest:
    """A rule of an AuthorizationPolicy: who shows no certificate may ask at `port`."""
    return {
        "from": [{"source": {"notPrincipals": ["*"]}}],
        "to": [{"operation": {"ports": [str(port)]}}],
    }


def allow(selects: Mapping[str, str], rules: Sequence[Manifest]) -> Manifest:
    """The spec of the AuthorizationPolicy that lets `callers` ask these pods."""
    return {"action": "ALLOW", "selector": {"matchLabels": dict(selects)}, "rules": list(rules)}


def istiod() -> Manifest:
    """The control plane's pods, as a NetworkPolicy names them."""
    return network.pods({"app": "istiod"}, SYSTEM_NAMESPACE)


def beside_sidecar(policy: Manifest, scraper: Manifest | None = None) -> Manifest:
    """The spec of a pod's NetworkPolicy, and what its sidecar needs: the way to istiod, where the
    policy bounds whom it may call, and the question of `scraper` for metrics.
    """
    found = dict(policy)
    if scraper is not None:
        asked = {"from": [scraper], "ports": [network.tcp(METRICS_PORT)]}
        found["ingress"] = [*found["ingress"], asked]
    if "egress" in found:
        out = {"to": [istiod()], "ports": [network.tcp(XDS_PORT)]}
        found["egress"] = [*(found["egress"] or network.egress([])["egress"]), out]
    return found
