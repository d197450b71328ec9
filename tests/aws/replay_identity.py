"""The calls of IAM, KMS, CloudWatch, SQS and EventBridge: who may do what, keys, logs, events."""

from __future__ import annotations

import functools
import json
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.aws.replay import Api, Entry, Made, Refused, Table, Wanted, text

TAGS: dict[str, str | None] = {"tagsAll": None}


def role(api: Api, one: Wanted) -> Made:
    told = {
        "RoleName": one.called,
        "AssumeRolePolicyDocument": one.inputs.get("assumeRolePolicy"),
        "Path": one.inputs.get("path"),
        "Description": one.inputs.get("description"),
        "MaxSessionDuration": one.inputs.get("maxSessionDuration"),
        "PermissionsBoundary": one.inputs.get("permissionsBoundary"),
        "Tags": one.inputs.get("tags"),
    }
    made = api.call("iam", "CreateRole", **told)["Role"]
    return {"id": made["RoleName"], "arn": made["Arn"], "name": made["RoleName"]}


def inline_policy(api: Api, one: Wanted) -> Made:
    told = {"RoleName": one.inputs.get("role"), "PolicyName": one.called}
    api.call("iam", "PutRolePolicy", **told, PolicyDocument=one.inputs.get("policy"))
    return {}


def attachment(api: Api, one: Wanted) -> Made:
    role, policy = one.inputs["role"], one.inputs["policyArn"]
    if not policy.startswith("arn:aws:iam::aws:"):
        api.call("iam", "AttachRolePolicy", RoleName=role, PolicyArn=policy)
        return {}
    # The server could load AWS' own policies, and would take seconds each time that it forgets.
    if policy not in of_aws():
        raise Refused(f"AttachRolePolicy: NoSuchEntity: AWS has no policy {policy}")
    api.call("iam", "GetRole", RoleName=role)
    return {}


@functools.cache
def of_aws() -> frozenset[str]:
    """ARNs of the policies that AWS itself keeps, as moto lists them."""
    listed: dict[str, dict[str, Any]] = json.loads(aws_managed_policies_data)
    return frozenset(f"arn:aws:iam::aws:policy{one['Path']}{name}" for name, one in listed.items())


def instance_profile(api: Api, one: Wanted) -> Made:
    told = {"InstanceProfileName": one.called}
    made = api.call("iam", "CreateInstanceProfile", **told)["InstanceProfile"]
    if one.inputs.get("role"):
        api.call("iam", "AddRoleToInstanceProfile", **told, RoleName=one.inputs["role"])
    return {"id": one.called, "arn": made["Arn"], "name": one.called}


def key(api: Api, one: Wanted) -> Made:
    policy = one.inputs.get("policy")
    if policy:
        _policy_of_key(policy)
    told = {
        "Policy": policy,
        "Description": one.inputs.get("description"),
        "KeyUsage": one.inputs.get("keyUsage"),
        "KeySpec": one.inputs.get("customerMasterKeySpec"),
        "MultiRegion": one.inputs.get("multiRegion"),
    }
    made = api.call("kms", "CreateKey", **told)["KeyMetadata"]
    if one.inputs.get("enableKeyRotation"):
        days = one.inputs.get("rotationPeriodInDays")
        api.call("kms", "EnableKeyRotation", KeyId=made["KeyId"], RotationPeriodInDays=days)
    return {"id": made["KeyId"], "keyId": made["KeyId"], "arn": made["Arn"]}


def _policy_of_key(policy: str) -> None:
    """A key whose policy lets nobody change it is lost; KMS refuses one that locks its maker out.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html (Policy)
    """
    for statement in json.loads(policy)["Statement"]:
        actions = statement.get("Action", [])
        actions = [actions] if isinstance(actions, str) else actions
        if statement["Effect"] == "Allow" and {"kms:*", "kms:PutKeyPolicy"} & set(actions):
            return
    raise Refused("CreateKey: its policy lets nobody put another one (MalformedPolicyDocument)")


def log_group(api: Api, one: Wanted) -> Made:
    told = {"kmsKeyId": one.inputs.get("kmsKeyId"), "tags": one.inputs.get("tags")}
    told["logGroupClass"] = one.inputs.get("logGroupClass")
    api.call("logs", "CreateLogGroup", logGroupName=one.called, **told)
    days = one.inputs.get("retentionInDays")
    if days:
        api.call("logs", "PutRetentionPolicy", logGroupName=one.called, retentionInDays=days)
        _days(days)
    return {"id": one.called}


# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION: tuple[int, ...] = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
)
RETENTION += (2922, 3288, 3653)


def _days(days: int) -> None:
    if days not in RETENTION:
        raise Refused(
            f"PutRetentionPolicy: {days:g} days is none of {', '.join(map(str, RETENTION))}"
        )


def queue(api: Api, one: Wanted) -> Made:
    named = {
        "messageRetentionSeconds": "MessageRetentionPeriod",
        "sqsManagedSseEnabled": "SqsManagedSseEnabled",
        "kmsMasterKeyId": "KmsMasterKeyId",
        "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
        "visibilityTimeoutSeconds": "VisibilityTimeout",
        "policy": "Policy",
    }
    attributes = {name: text(one.inputs[key]) for key, name in named.items() if key in one.inputs}
    told = {"QueueName": one.called, "Attributes": attributes}
    api.left_out |= set(one.inputs) - set(named) - {"name", "tags"}
    url = api.call("sqs", "CreateQueue", **told)["QueueUrl"]
    asked = api.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])
    return {"id": url, "url": url, "arn": asked["Attributes"]["QueueArn"]}


def queue_policy(api: Api, one: Wanted) -> Made:
    policy = {"Policy": one.inputs["policy"]}
    api.call("sqs", "SetQueueAttributes", QueueUrl=one.inputs["queueUrl"], Attributes=policy)
    return {}


def target(api: Api, one: Wanted) -> Made:
    to = {"Id": one.inputs.get("targetId") or one.name, "Arn": one.inputs["arn"]}
    bus = one.inputs.get("eventBusName")
    api.call("events", "PutTargets", Rule=one.inputs["rule"], EventBusName=bus, Targets=[to])
    return {}


TABLE: Table = {
    "iam/role:Role": role,
    "iam/rolePolicy:RolePolicy": inline_policy,
    "iam/rolePolicyAttachment:RolePolicyAttachment": attachment,
    "iam/policy:Policy": Entry(
        "iam",
        "CreatePolicy",
        {"policy": "PolicyDocument", "name": "PolicyName", **TAGS},
        {"id": "Policy.Arn", "arn": "Policy.Arn"},
    ),
    "iam/instanceProfile:InstanceProfile": instance_profile,
    "kms/key:Key": key,
    "kms/alias:Alias": Entry("kms", "CreateAlias", {"name": "AliasName"}),
    "cloudwatch/logGroup:LogGroup": log_group,
    "cloudwatch/eventRule:EventRule": Entry(
        "events", "PutRule", {"name": "Name", **TAGS}, {"arn": "RuleArn"}
    ),
    "cloudwatch/eventTarget:EventTarget": target,
    "sqs/queue:Queue": queue,
    "sqs/queuePolicy:QueuePolicy": queue_policy,
    "secretsmanager/secret:Secret": Entry(
        "secretsmanager",
        "CreateSecret",
        {"name": "Name", "recoveryWindowInDays": None, **TAGS},
        {"id": "ARN", "arn": "ARN"},
    ),
}
