"""Who is given what: the documents of IAM in a recorded program, found by role and by resource."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Program, Recorded

Document = dict[str, Any]

# Resources that carry a policy of their own: kind -> (the input that names the carrier, the input
# that holds the document).
CARRIED = {
    "BucketPolicy": ("bucket", "policy"),
    "KeyPolicy": ("keyId", "policy"),
    "RepositoryPolicy": ("repository", "policy"),
    "QueuePolicy": ("queueUrl", "policy"),
    "SecretPolicy": ("secretArn", "policy"),
    "TopicPolicy": ("arn", "policy"),
    "EventBusPolicy": ("eventBusName", "policy"),
}
CARRIERS = ("Bucket", "Key", "Repository", "Queue", "Secret", "Topic", "EventBus")


@dataclass
class Access:
    """The documents of a stack.

    roles: a role's name in the program -> its ARN. identity: the same name -> its policies' name
    and document. trust: the same name -> who may assume it. resource: ARN -> the policy on it.
    managed: role's name -> ARNs of AWS' own policies, whose text no program holds.
    """

    roles: dict[str, str] = field(default_factory=dict)
    identity: dict[str, dict[str, Document]] = field(default_factory=dict)
    trust: dict[str, Document] = field(default_factory=dict)
    resource: dict[str, Document] = field(default_factory=dict)
    managed: dict[str, list[str]] = field(default_factory=dict)


def access(program: Program) -> Access:
    """Read the documents of everything recorded.

    Raises:
        AssertionError: a document that hangs on nothing of this program, and so on what is not
            known, by name.
    """
    found = Access()
    aws = [one for one in program.custom() if one.type.startswith("aws:")]
    by_name: dict[str, str] = {}
    for role in (one for one in aws if one.type == "aws:iam/role:Role"):
        found.roles[role.name] = role.outputs["arn"]
        found.identity[role.name] = {}
        found.trust[role.name] = json.loads(role.inputs["assumeRolePolicy"])
        by_name |= {str(role.outputs["name"]): role.name, role.id: role.name}
        for inline in role.inputs.get("inlinePolicies", []):
            found.identity[role.name][inline["name"]] = json.loads(inline["policy"])
        for arn in role.inputs.get("managedPolicyArns", []):
            _attach(found, role.name, arn, aws)
    for one in aws:
        if one.kind in ("RolePolicy", "RolePolicyAttachment"):
            name = by_name.get(one.inputs["role"])
            assert name, f"{one.type} {one.name}: no role {one.inputs['role']} in the program"
            if one.kind == "RolePolicy":
                found.identity[name][one.name] = json.loads(one.inputs["policy"])
            else:
                _attach(found, name, one.inputs["policyArn"], aws)
        elif one.kind in CARRIED:
            told, document = CARRIED[one.kind]
            found.resource[_carrier(one, one.inputs[told], aws)] = json.loads(one.inputs[document])
        elif one.kind in CARRIERS and one.inputs.get("policy"):
            found.resource[one.outputs["arn"]] = json.loads(one.inputs["policy"])
    return found


def _attach(found: Access, role: str, arn: str, aws: list[Recorded]) -> None:
    if arn.startswith("arn:aws:iam::aws:"):
        found.managed.setdefault(role, []).append(arn)
        return
    own = [one for one in aws if one.type == "aws:iam/policy:Policy" and one.outputs["arn"] == arn]
    assert own, f"{role}: no policy {arn} in the program"
    found.identity[role][own[0].name] = json.loads(own[0].inputs["policy"])


def _carrier(one: Recorded, told: str, aws: list[Recorded]) -> str:
    """The ARN of what a policy hangs on, told by name, id, address or ARN."""
    for other in aws:
        names = (other.id, *(other.outputs.get(key) for key in ("arn", "name", "url", "keyId")))
        if other.kind in CARRIERS and told in names:
            return str(other.outputs["arn"])
    raise AssertionError(f"{one.type} {one.name}: no {told} in the program")
