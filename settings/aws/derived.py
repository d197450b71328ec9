"""What follows from the entrance of a stack on AWS: where people and tools find its parts."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any

from pydantic_core import PydanticCustomError

from settings.exposure import Gateway
from settings.faults import fault

# The balancer's way in: a port of every node, by TLS, with a certificate that it does not look at.
GATEWAY = {"service_type": "NodePort", "node_port": 30443, "tls": {"certificate": "mesh"}}


def derived(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with GATEWAY, `gateway.url`, `mlflow.url` and `mlflow.sign_in.host`, by the domain of
    `aws.entrance`, where they are left out. What is no object stays, for the checks to name.
    """
    aws = raw.get("aws")
    entrance = aws.get("entrance") if isinstance(aws, Mapping) else None
    domain = entrance.get("domain") if isinstance(entrance, Mapping) else None
    if not isinstance(entrance, Mapping) or not isinstance(domain, str) or not domain:
        return dict(raw)
    host = entrance.get("mlflow_host") or f"mlflow.{domain}"
    found = _with(raw, "gateway", {"url": f"https://{domain}", **GATEWAY})
    mlflow = raw.get("mlflow", {})
    if not isinstance(mlflow, Mapping) or not isinstance(mlflow.get("sign_in"), Mapping):
        return found
    signed = _with(mlflow, "sign_in", {"host": host})
    return _with(found | {"mlflow": signed}, "mlflow", {"url": f"https://{host}"})


def gateway_fault(gateway: Gateway, network: str) -> PydanticCustomError | None:
    """What is wrong with the gateway's settings behind the balancer, which stands in `network`."""
    faults = {
        "service_type": gateway.service_type != "NodePort"
        and "is of no use behind the balancer, which leads to a port of the nodes: NodePort",
        "node_port": gateway.node_port is None
        and "is not set; the balancer leads to it: a port from 30000 to 32767",
        "tls": gateway.tls is None
        and "is not set; the balancer speaks TLS to the gateway: {certificate: mesh}",
        "allow_from": bool(gateway.allow_from)
        and not any(IPv4Network(network).subnet_of(it) for it in _v4(gateway))
        and f"leaves out the network that the balancer stands in, {network}; who may come to the "
        "balancer is aws.entrance.allow_from",
    }
    for key, message in faults.items():
        if message:
            value = getattr(gateway, key)
            return fault(f"gateway.{key}", value, message)
    return None


def _v4(gateway: Gateway) -> list[IPv4Network]:
    return [it for it in map(ip_network, gateway.allow_from) if isinstance(it, IPv4Network)]


def _with(raw: Mapping[str, Any], key: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    section = raw.get(key, {})
    return dict(raw) | ({key: {**defaults, **section}} if isinstance(section, Mapping) else {})
