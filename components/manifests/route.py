"""The manifests of a route: how a model's requests reach its servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from settings.model import Canary
from settings.rollout import Sticky
from settings.types import duration_seconds

from .common import Manifest, Text
from .model_server import OWN_LABEL, REQUEST_SECONDS, SERVICE_PORT

CANARY_HEADER = "x-canary"
# What the gateway gives to each request; it names a client that brings no cookie yet.
_REQUEST_ID = "x-request-id"

# Says which model server a request is for, where it may be held before it gets there.
SERVER_HEADER = "x-slipway-server"
# With it an answer is final: Envoy asks nobody else. Source: Envoy, "Router", x-envoy-ratelimited.
FINAL_HEADER = "x-envoy-ratelimited"

# A comparer answers at once. One that does not may not cost the gateway much.
_MIRRORED_AT_A_TIME = 64


@dataclass(frozen=True)
class Mirror:
    """Where a copy of `percent` of a model's requests goes, besides to the server that answers."""

    host: Text
    percent: int


def virtual_service(
    model: str,
    gateway: Text,
    stable_host: Text,
    canary_host: Text | None = None,
    canary: Canary | None = None,
    sticky: Sticky | None = None,
    mirror: Mirror | None = None,
    cold_start: int | None = None,
) -> Manifest:
    """The spec of the VirtualService: `/models/<name>/` without that prefix, split by weight.

    cold_start: seconds that a request may be held, of a model whose servers may have no pod; None
    for one whose servers always have.

    The weight stands here and nowhere else, so a change of it changes one object. Stable comes
    first and the canary last: a client stands at one point of 100, so a weight that rises moves
    only the clients that it reaches.
    """
    prefix = f"/models/{model}/"
    everything: Manifest = {"uri": {"prefix": prefix}}
    routes: list[Manifest] = [
        # Inside the cluster only. The mesh decodes and merges what hides a path before it gets
        # here.
        {
            "name": "metrics-are-internal",
            "match": [{"uri": {"prefix": f"{prefix}metrics"}}],
            "directResponse": {"status": 404},
        }
    ]
    # Said although it goes without saying: what watches the weights reads it here.
    held = cold_start is not None
    destinations = [_destination(stable_host, held) | {"weight": 100}]
    if canary is not None:
        by_header = everything | {"headers": {CANARY_HEADER: {"exact": "true"}}}
        routes.append(_route("canary-by-header", by_header, [_destination(canary_host, held)]))
        destinations = [
            _destination(stable_host, held) | {"weight": 100 - canary.weight},
            _destination(canary_host, held) | {"weight": canary.weight},
        ]
    copied = _mirrored(mirror) if mirror else {}
    if canary is None or sticky is None:
        routes.append(_route("by-weight", everything, destinations) | copied)
    elif sticky.cookie is None:
        routes.append(_route(_known(model), everything, destinations) | copied)
    else:
        known = everything | {"headers": {"cookie": {"regex": _carries(sticky.cookie)}}}
        routes.append(_route(_known(model), known, destinations) | copied)
        given = {"headers": {"response": {"add": {"set-cookie": _cookie(model, sticky)}}}}
        routes.append(_route(_new(model), everything, destinations) | copied | given)
    if cold_start is not None:
        for route in routes[1:]:
            route["timeout"] = f"{REQUEST_SECONDS + cold_start}s"
    return {"hosts": ["*"], "gateways": [gateway], "http": routes}


def sticky_filter(model: str, sticky: Sticky, selector: Mapping[str, str]) -> Manifest:
    """The spec of an EnvoyFilter for the gateway's pods: the split of this model's requests goes by
    the client, not by chance. Istio has no field for it.

    It holds no weight and is about routes that a model has only beside a canary. A client without
    a cookie is known by the id of its first request, which becomes the cookie, so that its first
    answer comes from its version too. Source: Envoy's `RouteAction.hash_policy` and
    `WeightedCluster.use_hash_policy`.
    """
    if sticky.cookie is None:
        policies = {_known(model): {"header": {"header_name": sticky.header}}}
    else:
        policies = {
            _known(model): {"cookie": {"name": sticky.cookie}},
            _new(model): {"header": {"header_name": _REQUEST_ID}},
        }
    return {
        "workloadSelector": {"labels": dict(selector)},
        "configPatches": [
            {
                "applyTo": "HTTP_ROUTE",
                "match": {
                    "context": "GATEWAY",
                    "routeConfiguration": {"vhost": {"route": {"name": name}}},
                },
                "patch": {
                    "operation": "MERGE",
                    "value": {
                        "route": {
                            "hash_policy": [policy],
                            "weighted_clusters": {"use_hash_policy": True},
                        }
                    },
                },
            }
            for name, policy in policies.items()
        ],
    }


def comparer_rule(host: Text, *, sidecars: bool = False) -> Manifest:
    """The spec of the DestinationRule of a comparer: what is more than it takes is not sent.

    sidecars: whether its pod has one.
    """
    most = _MIRRORED_AT_A_TIME
    return {
        "host": host,
        "trafficPolicy": {
            "tls": _tls(sidecars),
            "connectionPool": {
                "tcp": {"maxConnections": most, "connectTimeout": "1s"},
                "http": {"http1MaxPendingRequests": most, "http2MaxRequests": most},
            },
        },
    }


def destination_rule(host: Text, *, held: bool = False, sidecars: bool = False) -> Manifest:
    """The spec of the DestinationRule of one model server.

    held: whether its Service has pods besides its own, which hold requests. They get requests only
    while none of its own is ready. With a least share of healthy pods, Istio tells the gateway of
    ready ones alone; else those that are starting would count as failing, and Envoy would turn to
    the second priority for a share of the requests. Source: Envoy, "Priority levels".
    sidecars: whether the pods have one.
    """
    own_first = [f"{key}={value}" for key, value in OWN_LABEL.items()]
    last_resort = {
        "loadBalancer": {"localityLbSetting": {"enabled": True, "failoverPriority": own_first}}
    }
    return {
        "host": host,
        "trafficPolicy": {
            "tls": _tls(sidecars),
            "connectionPool": {
                "tcp": {"maxConnections": 1024, "connectTimeout": "1s"},
                # Idle connections are Envoy's to close, after its hour: the servers keep them a
                # little longer.
                "http": {"http1MaxPendingRequests": 1024, "http2MaxRequests": 1024},
            },
            # A pod that cannot be reached is left out for a while, and before the last of a
            # request's three attempts: one that has died has the fewest requests, so Envoy likes
            # it best. Not for long: Kubernetes soon takes it out itself, and one that is back
            # must not be missing when the other dies. A model's own errors are no reason to.
            "outlierDetection": {
                "consecutive5xxErrors": 0,
                "consecutiveGatewayErrors": 5,
                "splitExternalLocalOriginErrors": True,
                "consecutiveLocalOriginFailures": 2,
                "interval": "1s",
                "baseEjectionTime": "5s",
                "maxEjectionPercent": 50,
                **({"minHealthPercent": 1} if held else {}),
            },
            **(last_resort if held else {}),
        },
    }


def _tls(sidecars: bool) -> Manifest:
    return {"mode": "ISTIO_MUTUAL" if sidecars else "DISABLE"}


def _known(model: str) -> str:
    return f"{model}.sticky"


def _new(model: str) -> str:
    return f"{model}.sticky-new"


def _carries(cookie: str) -> str:
    return f"(.*;\\s*)?{re.escape(cookie)}=[^;]+(;.*)?"


def _cookie(model: str, sticky: Sticky) -> str:
    seconds = max(1, round(duration_seconds(sticky.ttl)))
    value = f"{sticky.cookie}=%REQ({_REQUEST_ID})%"
    return f"{value}; Path=/models/{model}/; Max-Age={seconds}; HttpOnly; SameSite=Lax"


def _mirrored(mirror: Mirror) -> Manifest:
    return {
        "mirror": {"host": mirror.host, "port": {"number": SERVICE_PORT}},
        "mirrorPercentage": {"value": mirror.percent},
    }


def _destination(host: Text, held: bool) -> Manifest:
    headers = {
        "request": {"set": {SERVER_HEADER: host}},
        "response": {"remove": [FINAL_HEADER]},
    }
    return {
        "destination": {"host": host, "port": {"number": SERVICE_PORT}},
        **({"headers": headers} if held else {}),
    }


def _route(name: str, match: Manifest, destinations: list[Manifest]) -> Manifest:
    return {
        "name": name,
        "match": [match],
        "rewrite": {"uri": "/"},
        "route": destinations,
        "timeout": f"{REQUEST_SECONDS}s",
        # A prediction changes nothing, so it may be asked for again, of another pod.
        "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream,reset,503"},
    }
