"""A resource of a stack, as rules see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.values import get

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Resource:
    """A resource, as plain data in which `values.Unknown` stands for what is not known yet.

    type: as in `kubernetes:apps/v1:Deployment`. props: its inputs, or its outputs where a rule sees
    the whole stack. used: property -> URNs of the resources that its value comes from.
    provider: the properties of its provider.
    """

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    used: Mapping[str, Sequence[str]] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`Deployment`, out of `kubernetes:apps/v1:Deployment`."""
        return self.type.rpartition(":")[2]

    @property
    def group(self) -> str:
        """The API group of an object of Kubernetes, `apps`; empty for the core's and all else."""
        parts = self.type.split(":")
        if parts[0] != "kubernetes" or len(parts) != 3:
            return ""
        group = parts[1].rpartition("/")[0]
        return "" if group == "core" else group

    @property
    def stack(self) -> str:
        """The name of the stack, out of the URN."""
        parts = self.urn.split("::")[0].split(":")
        return parts[2] if len(parts) > 2 else ""

    def kubernetes(self, *kinds: str, group: str | None = None) -> bool:
        """Whether it is an object of Kubernetes of one of these kinds, and of this API group."""
        mine = self.type.startswith("kubernetes:") and self.kind in kinds
        return mine and (group is None or self.group == group)

    @property
    def object_name(self) -> str:
        """The object's name in the cluster; Pulumi's where none is given."""
        return str(get(self.props, "metadata", "name") or self.name)

    @property
    def namespace(self) -> str:
        """The object's namespace, `default` where none is given. Raises Undecidable."""
        return str(get(self.props, "metadata", "namespace") or DEFAULT_NAMESPACE)

    @property
    def place(self) -> str:
        """`<namespace>/<name>`. Raises Undecidable."""
        return f"{self.namespace}/{self.object_name}"
