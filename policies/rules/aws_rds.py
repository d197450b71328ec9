"""Databases: encrypted, not public, not deleted by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.resource import Resource
from engine.rule import Check, Given, Rule, of_parts
from engine.values import get

_GUIDE = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/"
_INSTANCE = "aws:rds/instance:Instance"
_CLUSTER = "aws:rds/cluster:Cluster"
_MEMBER = "aws:rds/clusterInstance:ClusterInstance"


def _of(*types: str) -> Callable[[Resource], list[Resource]]:
    return lambda resource: [resource] if resource.type in types else []


def _demand(field: str, value: bool, said: str, *types: str) -> Check:
    def messages(database: Resource, given: Given) -> Iterator[str]:
        # AWS' default is false, for each of them.
        if (get(database.props, field) is True) is not value:
            yield f"{field} is {said}"

    return of_parts(_of(*types), messages)


ENCRYPTION = Rule(
    name="rds-encryption",
    title="Databases encrypted",
    description="Databases are encrypted where they lie.",
    severity="high",
    remediation="Set storageEncrypted: true.",
    references=(_GUIDE + "Overview.Encryption.html",),
    check=_demand("storageEncrypted", True, "not true", _INSTANCE, _CLUSTER),
)
PUBLIC = Rule(
    name="rds-public",
    title="Databases not public",
    description="Databases have no public address.",
    severity="critical",
    remediation="Set publiclyAccessible: false.",
    references=(_GUIDE + "USER_VPC.WorkingWithRDSInstanceinaVPC.html",),
    check=_demand("publiclyAccessible", False, "true", _INSTANCE, _MEMBER),
)
DELETION = Rule(
    name="rds-deletion-protection",
    title="Databases not deleted by mistake",
    description="Databases are protected from being deleted.",
    severity="high",
    remediation="Set deletionProtection: true.",
    references=(_GUIDE + "USER_DeleteInstance.html",),
    check=_demand("deletionProtection", True, "not true", _INSTANCE, _CLUSTER),
)
RULES = (ENCRYPTION, PUBLIC, DELETION)
