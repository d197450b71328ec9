"""The calls of S3, RDS and ECR: what holds data."""

from __future__ import annotations

import copy
from typing import Any

from tests.aws.replay import Api, Entry, Made, Table, Wanted

TAGS: dict[str, str | None] = {"tagsAll": None}

ENCRYPTION = "BucketServerSideEncryptionConfiguration"


def bucket(api: Api, one: Wanted) -> Made:
    name = one.inputs.get("bucket") or one.outputs["bucket"]
    region = one.inputs.get("region") or api.region
    told: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    told["ObjectLockEnabledForBucket"] = one.inputs.get("objectLockEnabled")
    api.call("s3", "CreateBucket", Bucket=name, **told)
    if one.inputs.get("tags"):
        api.call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": one.inputs["tags"]})
    return {"id": name}


def part_of_bucket(operation: str, parameter: str | None, of: str | None = None) -> Any:
    """A call about a bucket, whose one parameter holds the inputs; `of` names the one that does."""

    def made(api: Api, one: Wanted) -> Made:
        told = {key: item for key, item in one.inputs.items() if key not in ("bucket", "region")}
        told.pop("expectedBucketOwner", None)
        if of:
            told = told[of]
        parameters = {parameter: told} if parameter else told
        api.call("s3", operation, Bucket=one.inputs["bucket"], **parameters)
        return {"id": one.inputs["bucket"]}

    return made


def encryption(api: Api, one: Wanted) -> Made:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"],
                "KMSMasterKeyID": rule["applyServerSideEncryptionByDefault"].get("kmsMasterKeyId"),
            },
            "BucketKeyEnabled": rule.get("bucketKeyEnabled"),
        }
        for rule in one.inputs["rules"]
    ]
    told = {"Rules": rules}
    bucket = one.inputs["bucket"]
    api.call("s3", "PutBucketEncryption", Bucket=bucket, ServerSideEncryptionConfiguration=told)
    return {"id": bucket}


def lifecycle(api: Api, one: Wanted) -> Made:
    rules = copy.deepcopy(one.inputs["rules"])
    for rule in rules:
        # The provider leaves out a filter of nothing; the API wants it, empty.
        rule["filter"] = rule.get("filter") or {"prefix": ""}
    told = {"Rules": rules}
    asked = {"Bucket": one.inputs["bucket"], "LifecycleConfiguration": told}
    api.call("s3", "PutBucketLifecycleConfiguration", **asked)
    return {"id": one.inputs["bucket"]}


def logging(api: Api, one: Wanted) -> Made:
    told = {key: one.inputs[key] for key in ("targetBucket", "targetPrefix") if key in one.inputs}
    status = {"LoggingEnabled": told}
    api.call("s3", "PutBucketLogging", Bucket=one.inputs["bucket"], BucketLoggingStatus=status)
    return {}


def database(api: Api, one: Wanted) -> Made:
    renames = {
        "identifier": "DBInstanceIdentifier",
        "instanceClass": "DBInstanceClass",
        "username": "MasterUsername",
        "password": "MasterUserPassword",
        "parameterGroupName": "DBParameterGroupName",
        "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
        "performanceInsightsEnabled": "EnablePerformanceInsights",
        "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
        "backupWindow": "PreferredBackupWindow",
        "maintenanceWindow": "PreferredMaintenanceWindow",
        "caCertIdentifier": "CACertificateIdentifier",
        # Of later calls: of a change, and of the end.
        **dict.fromkeys(("skipFinalSnapshot", "finalSnapshotIdentifier", "applyImmediately")),
        **dict.fromkeys(("deleteAutomatedBackups", "allowMajorVersionUpgrade")),
        **TAGS,
    }
    returns = {"id": "DBInstance.DBInstanceIdentifier", "arn": "DBInstance.DBInstanceArn"}
    return api.create(Entry("rds", "CreateDBInstance", renames, returns), one)


def parameter_group(api: Api, one: Wanted) -> Made:
    told = {
        "DBParameterGroupName": one.called,
        "DBParameterGroupFamily": one.inputs["family"],
        "Description": one.inputs.get("description"),
    }
    api.call("rds", "CreateDBParameterGroup", **told)
    parameters = [
        {
            "ParameterName": item["name"],
            "ParameterValue": item["value"],
            "ApplyMethod": item.get("applyMethod", "immediate"),
        }
        for item in one.inputs.get("parameters", [])
    ]
    asked = {"DBParameterGroupName": one.called, "Parameters": parameters}
    if parameters:
        api.call("rds", "ModifyDBParameterGroup", **asked)
    return {"id": one.called}


def subnet_group(api: Api, one: Wanted) -> Made:
    told = {"DBSubnetGroupName": one.called, "SubnetIds": one.inputs["subnetIds"]}
    told["DBSubnetGroupDescription"] = one.inputs.get("description") or "Managed by Pulumi"
    api.call("rds", "CreateDBSubnetGroup", **told)
    return {"id": one.called}


TABLE: Table = {
    "s3/bucket:Bucket": bucket,
    "s3/bucketVersioning:BucketVersioning": part_of_bucket(
        "PutBucketVersioning", "VersioningConfiguration", "versioningConfiguration"
    ),
    "s3/bucketPublicAccessBlock:BucketPublicAccessBlock": part_of_bucket(
        "PutPublicAccessBlock", "PublicAccessBlockConfiguration"
    ),
    "s3/bucketOwnershipControls:BucketOwnershipControls": part_of_bucket(
        "PutBucketOwnershipControls", "OwnershipControls"
    ),
    "s3/bucketPolicy:BucketPolicy": part_of_bucket("PutBucketPolicy", None),
    f"s3/{ENCRYPTION[0].lower()}{ENCRYPTION[1:]}:{ENCRYPTION}": encryption,
    "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": lifecycle,
    "s3/bucketLogging:BucketLogging": logging,
    "s3/bucketReplicationConfig:BucketReplicationConfig": part_of_bucket(
        "PutBucketReplication", "ReplicationConfiguration"
    ),
    "rds/instance:Instance": database,
    "rds/parameterGroup:ParameterGroup": parameter_group,
    "rds/subnetGroup:SubnetGroup": subnet_group,
    "ecr/repository:Repository": Entry(
        "ecr",
        "CreateRepository",
        {
            "name": "repositoryName",
            "encryptionConfigurations": "encryptionConfiguration",
            "forceDelete": None,
            **TAGS,
        },
        {"id": "repository.repositoryName", "arn": "repository.repositoryArn"},
    ),
    "ecr/repositoryPolicy:RepositoryPolicy": Entry(
        "ecr", "SetRepositoryPolicy", {"repository": "repositoryName", "policy": "policyText"}
    ),
    "ecr/lifecyclePolicy:LifecyclePolicy": Entry(
        "ecr",
        "PutLifecyclePolicy",
        {"repository": "repositoryName", "policy": "lifecyclePolicyText"},
    ),
    "ecr/registryScanningConfiguration:RegistryScanningConfiguration": Entry(
        "ecr", "PutRegistryScanningConfiguration"
    ),
    "ecr/pullThroughCacheRule:PullThroughCacheRule": Entry("ecr", "CreatePullThroughCacheRule"),
    "ecr/repositoryCreationTemplate:RepositoryCreationTemplate": Entry(
        "ecr", "CreateRepositoryCreationTemplate", {"appliedFors": "appliedFor"}
    ),
}
