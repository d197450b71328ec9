"""Who may do what, and who may be whom."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator

from engine.iam import condition, statements
from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import get, items, mapping, texts

_HOLDS_POLICY = re.compile(
    r"aws:iam/(policy:Policy|rolePolicy:RolePolicy|userPolicy:UserPolicy|groupPolicy:GroupPolicy)$"
)
_ATTACHES = re.compile(r"aws:iam/\w*[pP]olicyAttachment:\w+$")
_TOO_MUCH = re.compile(r"/(AdministratorAccess|PowerUserAccess|IAMFullAccess)$")
_WILD = re.compile(r"[*?]")
# A resource of wildcards alone; fields that an ARN leaves out are wildcards, too.
_ANYTHING = re.compile(r"(\*|arn(:[^:]*){0,4}|arn:[^:]*:[^:]*:[^:]*:[^:]*:[*?/:]*)$")
_SUBJECT = re.compile(r"system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+$")
_WEB = "sts:assumerolewithwebidentity"
_GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
# What a document is called, and the document.
Document = tuple[str, object]


def _documents(resource: Resource) -> Iterator[Document]:
    if _HOLDS_POLICY.match(resource.type):
        yield "policy", resource.props.get("policy")
    elif resource.type == "aws:iam/role:Role":
        for number, policy in enumerate(items(resource.props, "inlinePolicies")):
            yield f"inlinePolicies[{number}]", mapping(policy).get("policy")
        for arn in items(resource.props, "managedPolicyArns"):
            yield "managedPolicyArns", {"arn": arn}
    elif _ATTACHES.match(resource.type):
        yield "policyArn", {"arn": resource.props.get("policyArn")}


def _wide(document: Document, given: Given) -> Iterator[str]:
    called, found = document
    if called.endswith(("Arn", "Arns")):
        arn = str(get(found, "arn"))
        if _TOO_MUCH.search(arn):
            yield f"{called}: {arn} allows everything"
        return
    for number, statement in enumerate(statements(found, called)):
        if get(statement, "Effect") != "Allow":
            continue
        where = f"{called}: statement {get(statement, 'Sid') or number}"
        for field in ("NotAction", "NotResource"):
            if get(statement, field) is not None:
                yield f"{where}: {field} allows all but what it names"
        actions = texts(statement, "Action")
        for action in actions:
            if _WILD.search(action) and action not in given["wild_actions"]:
                yield f"{where}: Action is {action}"
        narrow = all(action in given["any_resource"] for action in actions)
        for resource in texts(statement, "Resource"):
            if _ANYTHING.match(resource) and not narrow:
                yield f"{where}: Resource is {resource}"


WILDCARDS = Rule(
    name="iam-wildcards",
    title="No wildcards in IAM",
    description="Policies of IAM name the actions and the resources that they allow.",
    severity="critical",
    remediation="List the actions, and the ARNs that they are for. An action that AWS cannot "
    "narrow to a resource goes into the knob any_resource.",
    references=(_GUIDE + "best-practices.html#grant-least-privilege",),
    check=of_parts(_documents, _wide),
    knobs={
        "wild_actions": patterns("actions with a wildcard that may be allowed, word for word"),
        "any_resource": patterns(
            "actions that may be allowed on every resource", ["ecr:GetAuthorizationToken"]
        ),
    },
)


def _roles(resource: Resource) -> list[Resource]:
    return [resource] if resource.type == "aws:iam/role:Role" else []


def _trust(role: Resource, given: Given) -> Iterator[str]:
    for statement in statements(role.props.get("assumeRolePolicy"), "assumeRolePolicy"):
        if get(statement, "Effect") != "Allow":
            continue
        principal = get(statement, "Principal")
        if principal == "*" or "*" in texts(principal, "AWS"):
            yield "assumeRolePolicy: everyone may assume the role"
        # AWS tells no case in actions, and takes wildcards.
        if not any(fnmatch.fnmatchcase(_WEB, one.lower()) for one in texts(statement, "Action")):
            continue
        exact = condition(statement, "StringEquals")
        providers = texts(principal, "Federated")
        if providers and all(
            provider.startswith("arn:") and "oidc.eks." not in provider for provider in providers
        ):
            # Another issuer has subjects of another shape; it must name them, too.
            if not any(key.endswith(":sub") for key in exact):
                yield "assumeRolePolicy: no StringEquals on the issuer's :sub"
            continue
        subjects = [each for key, them in exact.items() if key.endswith(":sub") for each in them]
        audiences = [each for key, them in exact.items() if key.endswith(":aud") for each in them]
        if not subjects or not all(_SUBJECT.match(each) for each in subjects):
            told = ", ".join(subjects) or "nothing"
            yield f"assumeRolePolicy: :sub is {told}, not one namespace's service account"
        if audiences != ["sts.amazonaws.com"]:
            yield "assumeRolePolicy: :aud is not sts.amazonaws.com"


TRUST = Rule(
    name="iam-trust",
    title="Roles bound to a service account",
    description="Roles that pods assume are bound to a namespace and a service account.",
    severity="critical",
    remediation="Demand, by StringEquals, the issuer's :sub as "
    "system:serviceaccount:NAMESPACE:NAME and its :aud as sts.amazonaws.com.",
    references=(
        "https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html",
    ),
    check=of_parts(_roles, _trust),
)
RULES = (WILDCARDS, TRUST)
