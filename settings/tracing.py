"""Where traces go, and how many requests leave one."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.faults import fault
from settings.types import Section, TracePercent

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_ENDPOINT = re.compile(
    rf"https?://({_LABEL}\.)+[a-z]([-a-z0-9]*[a-z0-9])?(:(?P<port>\d{{1,5}}))?/?"
)
_INSIDE = re.compile(rf"(?P<name>{_LABEL})\.(?P<namespace>{_LABEL})\.svc(\.cluster\.local)?")
_PORTS = {"http": 80, "https": 443}


def _endpoint(value: object) -> object:
    found = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found["port"] or 1) < 2**16:
        raise PydanticCustomError(
            "slipway",
            "is not a URL such as http://collector.observability.svc:4318: a host by its full "
            "name, no user, no path",
        )
    url = urlsplit(found[0])
    if url.scheme == "https" and _INSIDE.fullmatch(url.hostname or ""):
        raise PydanticCustomError(
            "slipway", "is inside the cluster, where no public authority certifies a name; use http"
        )
    if url.scheme == "http" and (url.hostname or "").count(".") == 1:
        raise PydanticCustomError(
            "slipway", "is a Service by half its name; write <service>.<namespace>.svc"
        )
    return found[0].rstrip("/")


class Tracing(Section):
    """A collector of traces that takes OTLP over HTTP. Without an endpoint there are none."""

    endpoint: Annotated[str, BeforeValidator(_endpoint)] | None = Field(
        default=None, description="the collector's URL, without the path /v1/traces"
    )
    sample: TracePercent = Field(
        default=1.0, description="of the requests that the gateway starts a trace for, in percent"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> Tracing:
        if self.endpoint is None and "sample" in self.model_fields_set:
            raise fault("sample", self.sample, "needs an endpoint beside it")
        return self

    @property
    def collector(self) -> Collector | None:
        """The endpoint in its parts; None where there is none."""
        return Collector.of(self.endpoint) if self.endpoint else None


class Collector(Section):
    """An endpoint in its parts.

    endpoint: as configured, without a slash at the end. host: by its full name, also inside the
    cluster. namespace: of the Service that it is; None where it is outside of the cluster.
    tls: whether it speaks TLS.
    """

    endpoint: str
    host: str
    port: int
    tls: bool
    namespace: str | None

    @classmethod
    def of(cls, endpoint: str) -> Collector:
        """The parts of a URL; its port is 80 or 443 where it names none."""
        url = urlsplit(endpoint)
        host = url.hostname or ""
        inside = _INSIDE.fullmatch(host)
        if inside:
            host = f"{inside['name']}.{inside['namespace']}.svc.cluster.local"
        return cls(
            endpoint=endpoint,
            host=host,
            port=url.port or _PORTS[url.scheme],
            tls=url.scheme == "https",
            namespace=inside["namespace"] if inside else None,
        )
