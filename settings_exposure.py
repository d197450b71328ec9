"""How the Services of a stack are reached from outside the cluster."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from settings_types import Cidr, NodePort, Section, Url


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
