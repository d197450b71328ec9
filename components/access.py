"""What a service account may do, as a role and its binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from .manifests import common
from .options import child

_GROUP = "rbac.authorization.k8s.io"


def grant(
    parent: pulumi.Resource,
    name: str,
    metadata: common.Manifest,
    rules: Sequence[Mapping[str, object]],
    account: str,
    home: pulumi.Input[str],
) -> RoleBinding | ClusterRoleBinding:
    """Let `account`, of namespace `home`, do what `rules` say: in the namespace of `metadata`, or
    in the whole cluster where that has none. The binding; both are children of `parent`, called
    `<name>-role` and `<name>-binding`.
    """
    whole = "namespace" not in metadata
    make_role, bind = (ClusterRole, ClusterRoleBinding) if whole else (Role, RoleBinding)
    role = make_role(f"{name}-role", metadata=metadata, rules=list(rules), opts=child(parent))
    return bind(
        f"{name}-binding",
        metadata=metadata,
        role_ref={
            "api_group": _GROUP,
            "kind": "ClusterRole" if whole else "Role",
            "name": metadata["name"],
        },
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": home}],
        opts=child(parent, [role]),
    )
