"""The manifests of a route: how a model's requests reach its servers."""

from __future__ import annotations

from settings import Canary

from .common import Manifest, Text
from .model_server import REQUEST_SECONDS, SERVICE_PORT

CANARY_HEADER = "x-canary"


def virtual_service(
    model: str,
    gateway: Text,
    stable_host: Text,
    canary_host: Text | None = None,
    canary: Canary | None = None,
) -> Manifest:
    """The spec of the VirtualService: `/models/<name>/` without that prefix, split by weight.

    The weight stands here and nowhere else, so a change of it changes one object.
    """
    prefix = f"/models/{model}/"
    routes: list[Manifest] = [
        # Inside the cluster only. The mesh decodes and merges what hides a path before it gets
        # here.
        {
            "name": "metrics-are-internal",
            "match": [{"uri": {"prefix": f"{prefix}metrics"}}],
            "directResponse": {"status": 404},
        }
    ]
    destinations = [_destination(stable_host)]
    if canary is not None:
        routes.append(
            _route(
                "canary-by-header",
                {"uri": {"prefix": prefix}, "headers": {CANARY_HEADER: {"exact": "true"}}},
                [_destination(canary_host)],
            )
        )
        destinations = [
            _destination(stable_host) | {"weight": 100 - canary.weight},
            _destination(canary_host) | {"weight": canary.weight},
        ]
    routes.append(_route("by-weight", {"uri": {"prefix": prefix}}, destinations))
    return {"hosts": ["*"], "gateways": [gateway], "http": routes}


def destination_rule(host: Text) -> Manifest:
    """The spec of the DestinationRule of one model server."""
    return {
        "host": host,
        "trafficPolicy": {
            # The pods have no sidecar.
            "tls": {"mode": "DISABLE"},
            "connectionPool": {
                "tcp": {"maxConnections": 1024, "connectTimeout": "1s"},
                # Idle connections are Envoy's to close, after its hour: the servers keep them a
                # little longer.
                "http": {"http1MaxPendingRequests": 1024, "http2MaxRequests": 1024},
            },
            # A pod that cannot be reached is left out for a while. A model's own errors are no
            # reason to.
            "outlierDetection": {
                "consecutive5xxErrors": 0,
                "consecutiveGatewayErrors": 5,
                "interval": "5s",
                "baseEjectionTime": "15s",
                "maxEjectionPercent": 50,
            },
        },
    }


def _destination(host: Text) -> Manifest:
    return {"destination": {"host": host, "port": {"number": SERVICE_PORT}}}


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
