"""Who may do what: AWS' own logic, applied to the documents that a program registered.

@cloud-copilot/iam-simulate evaluates identity and resource policies, conditions, trust and key
policies, and refuses actions, resources and keys of a request that AWS doesn't have:
https://github.com/cloud-copilot/iam-simulate. It is no part of what Slipway installs: `make
simulator` puts it beside the tests.
The logic: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import node
from tests.aws.access import Access
from tests.aws_mocks import ACCOUNT, REGION

SIMULATOR = Path(__file__).resolve().parent / "simulator"
PODS = "pods.eks.amazonaws.com"
ANONYMOUS = "anonymous"
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
OPERATORS = frozenset(
    f"{kind}{relation}".lower()
    for kind, relations in {
        "String": "Equals NotEquals EqualsIgnoreCase NotEqualsIgnoreCase Like NotLike",
        "Numeric": "Equals NotEquals LessThan LessThanEquals GreaterThan GreaterThanEquals",
        "Date": "Equals NotEquals LessThan LessThanEquals GreaterThan GreaterThanEquals",
        "Arn": "Equals NotEquals Like NotLike",
    }.items()
    for relation in relations.split()
) | {"bool", "binaryequals", "ipaddress", "notipaddress", "null"}


@dataclass(frozen=True)
class Request:
    """One call of AWS' API.

    who: a role's name in the program, an ARN of another principal, a service (PODS) or ANONYMOUS.
    action: as in `s3:GetObject`. resource: an ARN; `*` for actions that take none.
    context: condition keys that AWS would send, beside those of `usual`.
    account: the resource's.
    """

    who: str
    action: str
    resource: str
    context: Mapping[str, str | list[str]] = field(default_factory=dict)
    account: str = ACCOUNT


@dataclass(frozen=True)
class Verdict:
    """allowed: what AWS would do. why: `Allowed`, `ExplicitlyDenied` or `ImplicitlyDenied`."""

    request: Request
    allowed: bool
    why: str


def evaluate(access: Access, requests: Sequence[Request]) -> list[Verdict]:
    """What AWS would answer, in the same order.

    Raises:
        AssertionError: a document or a request that AWS would not take as it stands.
        RuntimeError: the simulator is not installed.
    """
    return simulate([(request, simulation(access, request)) for request in requests])


def simulate(simulations: Sequence[tuple[Request, dict[str, Any]]]) -> list[Verdict]:
    """Put simulations to the simulator: one process for all of them."""
    command = node.node()
    if command is None or not (SIMULATOR / "node_modules/complete").exists():
        raise RuntimeError("the simulator of IAM is not installed: make simulator")
    done = subprocess.run(
        [*command, str(SIMULATOR / "simulate.mjs")],
        input=json.dumps([told for _, told in simulations]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    return [
        _verdict(request, result) for (request, _), result in zip(simulations, results, strict=True)
    ]


def _verdict(request: Request, result: dict[str, Any]) -> Verdict:
    assert result["resultType"] != "error", f"{request}: {json.dumps(result['errors'])}"
    single = [result["result"]] if result["resultType"] == "single" else result["results"]
    for one in single:
        ignored = set(one.get("ignoredContextKeys", [])) & set(request.context)
        assert not ignored, f"{request}: AWS sends no {', '.join(sorted(ignored))} with that"
    return Verdict(request, result["overallResult"] == "Allowed", result["overallResult"])


def simulation(access: Access, request: Request) -> dict[str, Any]:
    """A request and the documents that bear on it, as iam-simulate takes them."""
    policies = access.identity.get(request.who, {})
    arn = access.roles.get(request.who)
    principal: Any = request.who
    if arn:
        principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rsplit('/', 1)[-1]}/session"
    elif request.who == ANONYMOUS:
        principal = {"type": "Anonymous"}
    told: dict[str, Any] = {
        "request": {
            "principal": principal,
            "action": request.action,
            "resource": {"resource": request.resource, "accountId": request.account},
            "contextVariables": {**usual(arn or request.who, request), **request.context},
        },
        "identityPolicies": [{"name": n, "policy": policy} for n, policy in policies.items()],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        "additionalSettings": {"s3": {"blockPublicAccess": True}},
    }
    carried = carried_by(access, request)
    for document in (*policies.values(), carried or {}):
        _check_operators(document)
    told |= {"resourcePolicy": carried} if carried else {}
    return _renamed(told) if request.action.startswith("kms:") else told


def _renamed(told: Any) -> Any:
    """iam-simulate knows no key whose variable part follows a colon, as in
    `kms:EncryptionContext:aws:s3:arn`, and drops it from the request. A tag of the caller is of
    the same kind, one text, so it stands for it in the request and in the documents.
    """
    if isinstance(told, dict):
        return {
            f"aws:PrincipalTag/{key}" if key.startswith("kms:EncryptionContext:") else key: (
                _renamed(value)
            )
            for key, value in told.items()
        }
    return [_renamed(item) for item in told] if isinstance(told, list) else told


def _check_operators(document: Mapping[str, Any]) -> None:
    """iam-simulate takes an operator that AWS doesn't have for one that never matches."""
    for statement in document.get("Statement", []):
        for operator in statement.get("Condition", {}):
            plain = operator.split(":")[-1].removesuffix("IfExists").lower()
            assert plain in OPERATORS, f"policy.errors: no operator {operator}: {statement}"


def usual(principal: str, request: Request) -> dict[str, str]:
    """Condition keys that come with every request: by HTTPS, from a principal of an account."""
    context = {"aws:SecureTransport": "true", "aws:ResourceAccount": request.account}
    context["aws:RequestedRegion"] = REGION
    if principal.startswith("arn:"):
        context["aws:PrincipalArn"] = principal
        context["aws:PrincipalAccount"] = principal.split(":")[4]
        context["aws:PrincipalIsAWSService"] = "false"
    elif principal != ANONYMOUS:
        context["aws:PrincipalServiceName"] = principal
        context["aws:PrincipalIsAWSService"] = "true"
    return context


def carried_by(access: Access, request: Request) -> dict[str, Any] | None:
    """The policy on what is asked for: of a role its trust; None where there is none."""
    if request.action.startswith("sts:"):
        return next(
            (access.trust[name] for name, arn in access.roles.items() if arn == request.resource),
            None,
        )
    arn = request.resource
    return access.resource.get(arn.split("/", 1)[0] if arn.startswith("arn:aws:s3:::") else arn)


def by_pods(access: Access, role: str, cluster: str, account: str = ACCOUNT) -> Request:
    """EKS asks for a role's credentials for a pod of `cluster` (its ARN)."""
    context: dict[str, str | list[str]] = {"aws:SourceAccount": account, "aws:SourceArn": cluster}
    return Request(PODS, "sts:AssumeRole", access.roles[role], context)


def by_s3(who: str, action: str, key: str, of: str) -> Request:
    """S3 asks KMS for a key on behalf of `who`.

    key: ARN of the key. of: what the key is for: the bucket's ARN where the bucket has a bucket
    key, and the object's otherwise.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    context: dict[str, str | list[str]] = {
        "kms:ViaService": f"s3.{REGION}.amazonaws.com",
        "kms:CallerAccount": ACCOUNT,
        "kms:EncryptionContext:aws:s3:arn": of,
        "kms:EncryptionContextKeys": ["aws:s3:arn"],
    }
    return Request(who, action, key, context)
