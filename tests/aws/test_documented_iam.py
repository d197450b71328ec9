"""The evaluation of IAM comes out as AWS documents it; what AWS would not take is no answer.

Rules: reference_policies_evaluation-logic.html, reference_policies_evaluation-logic-cross-account
.html and reference_policies_elements_condition*.html of
https://docs.aws.amazon.com/IAM/latest/UserGuide
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws.access import Access, Document
from tests.aws.evaluate import Request, evaluate, simulate, simulation
from tests.aws_mocks import ACCOUNT

OBJECT = "arn:aws:s3:::documented/a"
STRANGER = "arn:aws:iam::999999999999:role/stranger"
GET = Request("someone", "s3:GetObject", OBJECT)
TAG = "s3:ExistingObjectTag/a"


def said(effect: str, action: str = "s3:*", resource: str = "*", **more: Any) -> Document:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def to(arn: str) -> Document:
    """The policy of a bucket that lets a principal read."""
    return said("Allow", "s3:GetObject", OBJECT, Principal={"AWS": arn})


def given(*identity: Document, bucket: Document | None = None) -> Access:
    """One role, `someone`, and one bucket, `documented`."""
    found = Access(roles={"someone": f"arn:aws:iam::{ACCOUNT}:role/someone"})
    version = {"Version": "2012-10-17"}
    found.identity["someone"] = {"p": version | {"Statement": list(identity)}} if identity else {}
    if bucket:
        found.resource["arn:aws:s3:::documented"] = version | {"Statement": [bucket]}
    return found


def on(operator: str, **keys: Any) -> Access:
    """Everything is allowed on this condition; `tag` stands for an object's tag."""
    named = {TAG if key == "tag" else key: value for key, value in keys.items()}
    return given(said("Allow", Condition={operator: named}))


def tagged(value: str) -> Request:
    return Request("someone", "s3:GetObject", OBJECT, {TAG: value})


SOMEONE = f"arn:aws:iam::{ACCOUNT}:role/someone"
THEIRS = Request("someone", "s3:GetObject", OBJECT, account="999999999999")
NOT_PUT = {"Effect": "Deny", "NotAction": "s3:PutObject", "Resource": "*"}
ALL = said("Allow")
NO, NEVER, YES = "ImplicitlyDenied", "ExplicitlyDenied", "Allowed"

RULES: dict[str, tuple[Access, Request, str]] = {
    "nothing is allowed that no statement allows": (given(), GET, NO),
    "an explicit deny overrides any allow": (given(ALL, said("Deny", "s3:Get*")), GET, NEVER),
    "within an account the resource's policy is enough": (given(bucket=to(SOMEONE)), GET, YES),
    "it names who": (given(bucket=to(f"{SOMEONE}-else")), GET, NO),
    "its deny overrides an allow of the role's": (
        given(ALL, bucket=said("Deny", Principal="*", resource=OBJECT)),
        GET,
        NEVER,
    ),
    "a key that is missing does not match": (on("StringEquals", tag="b"), GET, NO),
    "IfExists: a key that is missing matches": (on("StringEqualsIfExists", tag="b"), GET, YES),
    "a negated operator matches a key that is missing": (on("StringNotEquals", tag="b"), GET, YES),
    "with IfExists too": (on("StringNotEqualsIfExists", tag="b"), GET, YES),
    "Null: true asks that a key is missing": (on("Null", tag="true"), GET, YES),
    "Null: false asks that it is there": (on("Null", tag="false"), GET, NO),
    "values of one key are alternatives": (on("StringEquals", tag=["b", "c"]), tagged("c"), YES),
    "of a negated operator none may match": (
        on("StringNotEquals", tag=["b", "c"]),
        tagged("c"),
        NO,
    ),
    "keys of one operator must all match": (
        on("StringEquals", tag="b", **{"aws:PrincipalAccount": "1"}),
        tagged("b"),
        NO,
    ),
    "StringEquals takes no pattern": (on("StringEquals", tag="b*"), tagged("bc"), NO),
    "StringLike does": (on("StringLike", tag="b*"), tagged("bc"), YES),
    "text is told by its case": (on("StringEquals", tag="B"), tagged("b"), NO),
    "an action's case does not matter": (given(said("Allow", "S3:getobject")), GET, YES),
    "a resource's does": (given(said("Allow", "s3:*", OBJECT.upper())), GET, NO),
    "NotAction with deny": (given(ALL, NOT_PUT), GET, NEVER),
    "another account's resource needs both: role alone": (given(ALL), THEIRS, NO),
    "bucket alone": (given(bucket=to(SOMEONE)), THEIRS, NO),
    "both": (given(ALL, bucket=to(SOMEONE)), THEIRS, YES),
    "a stranger needs both as well": (
        given(bucket=to(STRANGER)),
        Request(STRANGER, "s3:GetObject", OBJECT),
        NO,
    ),
}


def test_documented_rules_hold() -> None:
    cases = [(asked, simulation(access, asked)) for access, asked, _ in RULES.values()]
    found = {rule: verdict.why for rule, verdict in zip(RULES, simulate(cases), strict=True)}
    assert found == {rule: why for rule, (_, _, why) in RULES.items()}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (Request("someone", "s3:GetObjects", OBJECT), "invalid.action"),
        (Request("someone", "s3:GetObject", "arn:aws:kms:eu-central-1:1:key/a"), "no.resource"),
        (Request("someone", "s3:GetObject", OBJECT, {"s3:prefix": "a"}), "AWS sends no s3:prefix"),
    ],
)
def test_a_request_that_aws_does_not_have_is_no_answer(asked: Request, named: str) -> None:
    with pytest.raises(AssertionError, match=named):
        evaluate(given(ALL), [asked])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (said("Allow", Condition={"StringEqual": {TAG: "a"}}), "no operator StringEqual"),
        (said("Permit"), "policy.errors"),
        (said("Allow") | {"Ressource": "*"}, "policy.errors"),
        (said("Allow", Principal="*"), "policy.errors"),
    ],
)
def test_a_document_that_aws_does_not_take_is_no_answer(wrong: Document, named: str) -> None:
    with pytest.raises(AssertionError, match=named):
        evaluate(given(wrong), [GET])
