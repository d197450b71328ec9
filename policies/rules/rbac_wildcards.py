"""Roles name what they allow."""

from __future__ import annotations

from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts
from engine.values import get, items, texts

_GROUP = "rbac.authorization.k8s.io"


def _roles(resource: Resource) -> list[Resource]:
    kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    return [resource] if resource.kubernetes(*kinds, group=_GROUP) else []


def _messages(resource: Resource, given: Given) -> Iterator[str]:
    if resource.kind.endswith("Binding"):
        if get(resource.props, "roleRef", "name") == "cluster-admin":
            yield "roleRef is cluster-admin"
        return
    for number, rule in enumerate(items(resource.props, "rules")):
        for field in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
            for every in ("*", "/*"):  # of paths
                if every in texts(rule, field):
                    yield f"rules[{number}].{field} holds {every}"


RULE = Rule(
    name="rbac-wildcards",
    title="No wildcards in roles",
    description="Roles name the groups, resources and verbs that they allow; none is an admin.",
    severity="high",
    remediation="List what is needed.",
    references=("https://kubernetes.io/docs/concepts/security/rbac-good-practices/",),
    check=of_parts(_roles, _messages),
)
