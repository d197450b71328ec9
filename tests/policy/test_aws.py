"""The rules about AWS, on a stack that keeps them all and each of its mutants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.resource import Resource
from engine.rule import Undecided, Violation
from rules import ALL
from tests.policy import stacks
from tests.policy.stacks import REMOVED, Control, Stack

ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/ABC"
TAGS = {"tags": {"owner": "risk", "cost-center": "4711"}}
AWS = {
    rule.name
    for rule in ALL
    if rule.name.split("-")[0] in ("s3", "iam", "ec2", "eks", "rds", "data")
}


def statement(**fields: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **fields}]}


PLAIN = {"Bool": {"aws:SecureTransport": "false"}}
TLS_ONLY = statement(
    Effect="Deny",
    Principal="*",
    Action="s3:*",
    Resource=["arn:aws:s3:::models", "arn:aws:s3:::models/*"],
    Condition=PLAIN,
)
READ = statement(Action=["s3:GetObject", "s3:ListBucket"], Resource=["arn:aws:s3:::models/*"])
TRUST = statement(
    Principal={"Federated": f"arn:aws:iam::1:oidc-provider/{ISSUER}"},
    Action="sts:AssumeRoleWithWebIdentity",
    Condition={
        "StringEquals": {
            f"{ISSUER}:sub": "system:serviceaccount:mlflow:mlflow",
            f"{ISSUER}:aud": "sts.amazonaws.com",
        }
    },
)
NODES = statement(Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole")


def resource(token: str, name: str, **props: Any) -> Resource:
    module, type_ = token.split("/")
    full = f"aws:{module}/{type_[0].lower()}{type_[1:]}:{type_}"
    return Resource(f"urn:pulumi:prod::slipway::{full}::{name}", full, name, props, protect=True)


GOOD: Stack = [
    resource("s3/Bucket", "models", bucket="models", **TAGS),
    resource(
        "s3/BucketPublicAccessBlock",
        "models-block",
        bucket="models",
        blockPublicAcls=True,
        blockPublicPolicy=True,
        ignorePublicAcls=True,
        restrictPublicBuckets=True,
    ),
    resource("s3/BucketPolicy", "models-tls", bucket="models", policy=json.dumps(TLS_ONLY)),
    resource(
        "s3/BucketVersioning",
        "models-versions",
        bucket="models",
        versioningConfiguration={"status": "Enabled"},
    ),
    resource(
        "s3/BucketServerSideEncryptionConfiguration",
        "models-key",
        bucket="models",
        rules=[
            {
                "applyServerSideEncryptionByDefault": {
                    "sseAlgorithm": "aws:kms",
                    "kmsMasterKeyId": "k",
                }
            }
        ],
    ),
    resource("iam/Policy", "read", policy=json.dumps(READ)),
    resource("iam/RolePolicy", "inline", policy=READ),
    resource("iam/Role", "mlflow", assumeRolePolicy=json.dumps(TRUST)),
    resource(
        "iam/Role",
        "nodes",
        assumeRolePolicy=json.dumps(NODES),
        inlinePolicies=[{"name": "a", "policy": READ}],
    ),
    resource(
        "iam/RolePolicyAttachment",
        "worker",
        policyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    ),
    resource(
        "ec2/LaunchTemplate",
        "nodes",
        metadataOptions={"httpTokens": "required", "httpPutResponseHopLimit": 1},
        **TAGS,
    ),
    resource(
        "eks/Cluster",
        "cluster",
        vpcConfig={"endpointPublicAccess": False, "endpointPrivateAccess": True},
        encryptionConfig={"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:::key/k"}},
        enabledClusterLogTypes=["api", "audit", "authenticator"],
        **TAGS,
    ),
    resource("eks/NodeGroup", "nodes", launchTemplate={"id": "lt-1", "version": "1"}, **TAGS),
    resource(
        "rds/Instance",
        "db",
        storageEncrypted=True,
        publiclyAccessible=False,
        deletionProtection=True,
        **TAGS,
    ),
    resource("rds/Cluster", "aurora", storageEncrypted=True, deletionProtection=True, **TAGS),
    resource("rds/ClusterInstance", "aurora-1", publiclyAccessible=False, **TAGS),
    resource("lb/Listener", "edge", port=443, protocol="HTTPS"),
    resource(
        "lb/Listener",
        "plain",
        port=80,
        protocol="HTTP",
        defaultActions=[{"type": "redirect", "redirect": {"protocol": "HTTPS"}}],
    ),
]


def lost(rule: str, name: str, *path: str | int, to: Any = REMOVED) -> Control:
    kind, _, called = name.partition("/")
    return Control(rule, lambda each: each.kind == kind and each.name == called, path, to)


def document(change: Callable[[dict[str, Any]], None], good: dict[str, Any]) -> str:
    changed: dict[str, Any] = json.loads(json.dumps(good))
    change(changed["Statement"][0])
    return json.dumps(changed)


def says(good: dict[str, Any], **fields: Any) -> str:
    return document(lambda it: it.update(fields), good)


def demands(**conditions: Any) -> str:
    return says(TRUST, Condition=conditions)


MANY = ["blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"]
POLICY = ("iam-wildcards", "Policy/read", "policy")
ROLE = ("iam-trust", "Role/mlflow", "assumeRolePolicy")
OTHER = "arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"
SUBJECT, AUDIENCE = f"{ISSUER}:sub", f"{ISSUER}:aud"
RIGHT = {"StringEquals": {SUBJECT: "system:serviceaccount:a:b", AUDIENCE: "sts.amazonaws.com"}}
CONTROLS = [
    *[lost("s3-public-access", "BucketPublicAccessBlock/models-block", field) for field in MANY],
    *[
        lost("s3-public-access", "BucketPublicAccessBlock/models-block", field, to=False)
        for field in MANY
    ],
    lost("s3-public-access", "BucketPublicAccessBlock/models-block"),
    lost("s3-public-access", "BucketPublicAccessBlock/models-block", "bucket", to="other"),
    lost("s3-tls-only", "BucketPolicy/models-tls"),
    *[
        lost("s3-tls-only", "BucketPolicy/models-tls", "policy", to=to)
        for to in (
            says(TLS_ONLY, Effect="Allow"),
            says(TLS_ONLY, Condition={"Bool": {"aws:SecureTransport": "true"}}),
            says(TLS_ONLY, Condition={}),
            says(TLS_ONLY, Condition=PLAIN | {"IpAddress": {"aws:SourceIp": "192.0.2.1/32"}}),
            says(TLS_ONLY, Condition={"Bool": PLAIN["Bool"] | {"aws:MultiFactorAuthAge": "1"}}),
            says(TLS_ONLY, Principal={"AWS": "arn:aws:iam::1:root"}),
            says(TLS_ONLY, Action="s3:GetObject"),
            says(TLS_ONLY, Resource="arn:aws:s3:::models"),
        )
    ],
    lost("s3-versioning", "BucketVersioning/models-versions"),
    lost(
        "s3-versioning",
        "BucketVersioning/models-versions",
        "versioningConfiguration",
        "status",
        to="Suspended",
    ),
    lost("s3-kms", "BucketServerSideEncryptionConfiguration/models-key"),
    lost(
        "s3-kms",
        "BucketServerSideEncryptionConfiguration/models-key",
        "rules",
        0,
        "applyServerSideEncryptionByDefault",
        "sseAlgorithm",
        to="AES256",
    ),
    *[
        lost(*POLICY, to=to)
        for to in (
            says(READ, Action="*"),
            says(READ, Action=["s3:*"]),
            says(READ, Action=["s3:Get*"]),
            says(READ, Resource="arn:aws:s3:::*"),
            says(READ, Resource="*"),
            says(READ, Resource="arn:aws:s3:::*/*"),
            says(READ, Resource="arn:aws:s3"),
            document(lambda it: it.update(NotAction=it.pop("Action")), READ),
            document(lambda it: it.update(NotResource=it.pop("Resource")), READ),
        )
    ],
    lost(
        "iam-wildcards",
        "RolePolicy/inline",
        "policy",
        "Statement",
        0,
        "Action",
        to=["s3:GetObject", "s3:*"],
    ),
    lost(
        "iam-wildcards",
        "Role/nodes",
        "inlinePolicies",
        0,
        "policy",
        "Statement",
        0,
        "Resource",
        to="*",
    ),
    lost(
        "iam-wildcards",
        "RolePolicyAttachment/worker",
        "policyArn",
        to="arn:aws:iam::aws:policy/AdministratorAccess",
    ),
    *[
        lost(*ROLE, to=to)
        for to in (
            demands(),
            demands(StringEquals={AUDIENCE: "sts.amazonaws.com"}),
            demands(StringEquals={SUBJECT: "system:serviceaccount:a:b"}),
            demands(
                StringEquals={SUBJECT: "system:serviceaccount:a:*", AUDIENCE: "sts.amazonaws.com"}
            ),
            demands(StringLike=RIGHT["StringEquals"]),
            says(TRUST, Principal="*"),
            says(TRUST, Action="sts:*", Condition={}),
            says(TRUST, Action="sts:assumeRoleWithWebIdentity", Condition={}),
            says(
                TRUST,
                Principal={"Federated": [f"arn:aws:iam::1:oidc-provider/{ISSUER}", OTHER]},
                Condition={"StringEquals": {SUBJECT: "anybody", AUDIENCE: "sts.amazonaws.com"}},
            ),
        )
    ],
    lost("iam-trust", "Role/nodes", "assumeRolePolicy", to=says(NODES, Principal={"AWS": "*"})),
    lost("ec2-imds", "LaunchTemplate/nodes", "metadataOptions"),
    lost("ec2-imds", "LaunchTemplate/nodes", "metadataOptions", "httpTokens", to="optional"),
    lost("ec2-imds", "LaunchTemplate/nodes", "metadataOptions", "httpPutResponseHopLimit", to=2),
    lost("ec2-imds", "NodeGroup/nodes", "launchTemplate"),
    lost("eks-endpoint", "Cluster/cluster", "vpcConfig", "endpointPublicAccess", to=True),
    lost("eks-endpoint", "Cluster/cluster", "vpcConfig", to={"publicAccessCidrs": ["0.0.0.0/0"]}),
    lost("eks-secrets-encryption", "Cluster/cluster", "encryptionConfig"),
    lost("eks-secrets-encryption", "Cluster/cluster", "encryptionConfig", "provider", "keyArn"),
    lost("eks-logs", "Cluster/cluster", "enabledClusterLogTypes", to=["api", "authenticator"]),
    lost("rds-encryption", "Instance/db", "storageEncrypted"),
    lost("rds-encryption", "Cluster/aurora", "storageEncrypted", to=False),
    lost("rds-public", "Instance/db", "publiclyAccessible", to=True),
    lost("rds-public", "ClusterInstance/aurora-1", "publiclyAccessible", to=True),
    lost("rds-deletion-protection", "Instance/db", "deletionProtection", to=False),
    lost("rds-deletion-protection", "Cluster/aurora", "deletionProtection"),
    lost("public-tls", "Listener/edge", "protocol", to="HTTP"),
    lost("public-tls", "Listener/edge", "protocol"),
    lost("public-tls", "Listener/plain", "defaultActions"),
    lost("cost-labels", "Bucket/models", "tags", "owner"),
]


def test_a_stack_that_keeps_them_all_passes() -> None:
    verdict = stacks.judge(GOOD, {})
    assert not verdict.violations and not verdict.undecided


def test_every_mutant_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    made: Counter[str] = Counter()
    wrong = []
    for control in CONTROLS:
        found = list(control.mutants(GOOD))
        assert len(found) == 1, (control.rule, control.path)
        for one, path, new in found:
            made[control.rule] += 1
            for value in (new, stacks.unknown(path)) if path else (new,):
                mutant = stacks.changed(one, path, value) if path else None
                stack = [each if each is not one else mutant for each in GOOD]
                verdict = stacks.judge([each for each in stack if each], {})
                objected = {rule for rule, _, _ in verdict.violations}
                open_ = {rule for rule, _, _ in verdict.undecided}
                if value is new and (objected != {control.rule} or open_):
                    wrong.append(f"{control.rule} {path} {new}: {objected} {open_}")
                if value is not new and (objected or control.rule not in open_):
                    wrong.append(f"{control.rule} {path} unknown: {objected} {open_}")
    for one in GOOD:
        mutant = replace(one, protect=False)
        verdict = stacks.judge([mutant if each is one else each for each in GOOD], {})
        objected = {rule for rule, _, _ in verdict.violations}
        holds = one.kind in ("Bucket", "Instance") or one.type == "aws:rds/cluster:Cluster"
        made["data-protection"] += holds
        if objected != ({"data-protection"} if holds else set()):
            wrong.append(f"data-protection {one.name}: {objected}")
    with capsys.disabled():
        print(
            f"\nmutants about AWS killed: {sum(made.values()) - len(wrong)} of {sum(made.values())}"
        )
    assert not wrong, "\n".join(wrong)
    assert set(made) >= AWS


def test_a_satellite_belongs_to_the_bucket_that_its_name_comes_from() -> None:
    bucket, block = GOOD[0], GOOD[1]
    named = stacks.unknown(("bucket",))
    rule = stacks.RULES["s3-public-access"]
    unknown = replace(block, props=dict(block.props) | {"bucket": named})
    assert [type(each) for each in rule.judge([bucket, unknown])] == [Undecided]
    assert rule.judge([bucket, replace(unknown, used={"bucket": [bucket.urn]})]) == []
    other = replace(
        unknown, used={"bucket": ["urn:pulumi:prod::slipway::aws:s3/bucket:Bucket::other"]}
    )
    assert [type(each) for each in rule.judge([bucket, other])] == [Violation]


def test_tags_may_be_the_providers() -> None:
    bare = replace(GOOD[0], props={"bucket": "models"})
    rule = stacks.RULES["cost-labels"]
    assert len(rule.judge([bare])) == 2
    # As Pulumi's library writes them.
    assert rule.judge([replace(bare, provider={"defaultTags": json.dumps(TAGS)})]) == []
    assert rule.judge([replace(bare, provider={"defaultTags": TAGS})]) == []
    (broken,) = rule.judge([replace(bare, provider={"defaultTags": "{"})])
    assert broken.message == "the provider's defaultTags is no JSON"


def test_a_listener_without_a_port_is_of_a_gateway_load_balancer() -> None:
    gateway = resource("lb/Listener", "inner", defaultActions=[{"type": "forward"}])
    assert stacks.RULES["public-tls"].judge([gateway]) == []


def test_a_condition_may_hold_a_boolean() -> None:
    stated = says(TLS_ONLY, Condition={"Bool": {"aws:SecureTransport": False}})
    there = [replace(each, props={**each.props, "policy": stated}) for each in GOOD[2:3]]
    assert stacks.RULES["s3-tls-only"].judge([GOOD[0], *there]) == []


def test_a_policy_that_is_no_json_is_no_pass() -> None:
    broken = replace(GOOD[5], props={"policy": "{"})
    assert [type(each) for each in stacks.RULES["iam-wildcards"].judge([broken])] == [Violation]
