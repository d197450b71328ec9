"""Whoever comes from outside comes by TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import get, items

_LISTENER = re.compile(r"aws:(lb|alb)/listener:Listener$")


def _entrances(resource: Resource) -> Iterator[tuple[Resource, str, object]]:
    if resource.kubernetes("Gateway", group="networking.istio.io"):
        for number, server in enumerate(items(resource.props, "spec", "servers")):
            yield resource, f"servers[{number}]", server
    elif resource.kubernetes("Gateway", group="gateway.networking.k8s.io"):
        for number, listener in enumerate(items(resource.props, "spec", "listeners")):
            yield resource, f"listeners[{number}]", listener
    elif resource.kubernetes("Ingress", group="networking.k8s.io"):
        yield resource, "", get(resource.props, "spec")
    elif resource.kubernetes("Service", group=""):
        if get(resource.props, "spec", "type") == "LoadBalancer":
            for number, port in enumerate(items(resource.props, "spec", "ports")):
                yield resource, f"ports[{number}]", port
    elif _LISTENER.match(resource.type):
        yield resource, "", resource.props


def _messages(entrance: tuple[Resource, str, object], given: Given) -> Iterator[str]:
    resource, where, spec = entrance
    place = resource.place if resource.type.startswith("kubernetes:") else resource.name
    if given.listed("plain", place):
        return
    called = f"{place}: {where}".rstrip(": ")
    if resource.kind == "Ingress":
        if not items(spec, "tls"):
            yield f"{called}: spec.tls is not set"
    elif resource.kind == "Listener":
        redirects = [
            get(each, "redirect", "protocol") == "HTTPS" for each in items(spec, "defaultActions")
        ]
        # AWS' default is HTTP. Only a Gateway Load Balancer has no port, and no protocol.
        told = get(spec, "protocol") or ("HTTP" if get(spec, "port") else None)
        if told == "HTTP" and not (redirects and all(redirects)):
            yield f"{called}: protocol is HTTP, and it does not redirect"
    elif resource.kind == "Service":
        named = str(get(spec, "appProtocol") or get(spec, "name") or "")
        if get(spec, "port") == 80 or (named.startswith("http") and not named.startswith("https")):
            yield f"{called}: port {get(spec, 'port')} of a LoadBalancer is plain HTTP"
    elif resource.group == "gateway.networking.k8s.io":
        if get(spec, "protocol") not in ("HTTPS", "TLS"):
            yield f"{called}: protocol is {get(spec, 'protocol')}"
    elif get(spec, "port", "protocol") in ("HTTPS", "TLS"):
        if get(spec, "tls", "mode") is None:
            yield f"{called}: tls.mode is not set"
    elif get(spec, "tls", "httpsRedirect") is not True:
        yield f"{called}: protocol is {get(spec, 'port', 'protocol')}, and it does not redirect"


RULE = Rule(
    name="public-tls",
    title="TLS at every entrance",
    description="Gateways, ingresses and load balancers speak TLS, or send to where it is spoken.",
    severity="high",
    remediation="Give the entrance a certificate, and redirect plain HTTP to it. One that nobody "
    "reaches from outside goes into the knob plain.",
    references=(
        "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
        "https://kubernetes.io/docs/concepts/services-networking/ingress/#tls",
    ),
    check=of_parts(_entrances, _messages),
    knobs={"plain": patterns("entrances, as patterns of namespace/name, that may be plain")},
)
