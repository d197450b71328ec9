"""How the Services of a stack are reached from outside the cluster."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.faults import fault
from settings.types import Cidr, NodePort, SecretName, Section, Url


class Exposure(Section):
    """How a Service is reached from outside the cluster."""

    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: NodePort | None = None
    url: Url | None = Field(
        default=None, description="where people and tools outside the cluster find it"
    )
    allow_from: list[Cidr] = Field(
        default_factory=list,
        description="networks that may reach it, besides the nodes and its own clients",
    )

    @field_validator("node_port")
    @classmethod
    def _needs_a_node_port_service(cls, value: int | None, info: Any) -> int | None:
        if value is not None and info.data.get("service_type") == "ClusterIP":
            raise PydanticCustomError(
                "slipway", "needs service_type NodePort or LoadBalancer beside it"
            )
        return value


class GatewayTls(Section):
    """TLS at the gateway: by the mesh's own certificate, which names no host and is for a balancer
    that does not look at it, or by that in a Secret.
    """

    certificate: Literal["mesh"] | None = None
    secret: SecretName | None = Field(
        default=None, description="of kind kubernetes.io/tls, in namespace istio-ingress"
    )
    redirect: bool = Field(
        default=False, description="plain HTTP leads to HTTPS; else it is absent"
    )

    @model_validator(mode="after")
    def _one_of_the_two(self) -> GatewayTls:
        if (self.certificate is None) == (self.secret is None):
            raise PydanticCustomError(
                "slipway", "takes one of certificate: mesh and secret: <name of a Secret>"
            )
        return self


class Gateway(Exposure):
    """How the ingress gateway is reached; without `tls` by plain HTTP."""

    tls: GatewayTls | None = None

    @field_validator("tls", mode="before")
    @classmethod
    def _left_out(cls, value: object) -> object:
        return None if value == {} else value

    @model_validator(mode="after")
    def _url_of_https(self) -> Gateway:
        if self.tls and self.url and not self.url.startswith("https://"):
            raise fault(
                "url", self.url, "is not an https:// URL, and with tls the gateway speaks HTTPS"
            )
        return self
