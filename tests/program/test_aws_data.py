"""What holds data on AWS, and who gets at it: what is registered, what is kept, what waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi_aws.provider import Provider
from pulumi_aws.ssm import Parameter

from components.aws import naming
from components.aws.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from components.aws.data_access import DataAccess, DataAccessArgs, Reader
from components.aws.database import MlflowDatabase, MlflowDatabaseArgs
from components.aws.image_registry import ImageRegistry, ImageRegistryArgs
from components.manifests import istio
from components.manifests.model_server import Artifacts
from components.model_server import ModelServer, ModelServerArgs, Store, Surroundings
from components.serving_image import ServingImage, ServingImageArgs
from engine.resource import Resource
from rules import ALL
from settings.aws.storage import Bucket, Database, Replica
from settings.aws.storage import ImageRegistry as Images
from tests.conftest import Program, Recorded, run

ACCOUNT, REGION = "123456789012", "eu-central-1"
PREFIX = naming.prefix("prod")
NAME = f"slipway-prod-artifacts-{ACCOUNT}"
CLUSTER = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/slipway-prod"
MODELS = {"churn": Reader((2, 1), ("3", "14")), "fraud": Reader((7,))}


def everything(
    bucket: Bucket | None = None,
    database: Database | None = None,
    images: Images | None = None,
    models: dict[str, Reader] = MODELS,
) -> Program:
    """All of it, as a stack's program puts it together."""

    def program() -> None:
        here = pulumi.ResourceOptions(providers=[Provider("aws", region=REGION)])
        elsewhere = Provider("elsewhere", region="eu-west-1")
        home = PREFIX, ACCOUNT, REGION
        store = ArtifactBucket(
            "artifacts", ArtifactBucketArgs(*home, bucket or Bucket(), elsewhere), here
        )
        subnets = ["subnet-a", "subnet-b"]
        login = MlflowDatabase(
            "database",
            MlflowDatabaseArgs(*home, "vpc-1", subnets, "sg-cluster", database or Database()),
            here,
        )
        registry = ImageRegistry("images", ImageRegistryArgs(*home, images or Images()), here)
        image = ServingImage(
            "serving",
            ServingImageArgs(registry.registry, repository="serving", by_digest=True),
        )
        access = DataAccess(
            "access",
            DataAccessArgs("slipway-prod", CLUSTER, ACCOUNT, store, login, models),
            here,
        )
        reads = Store(Artifacts(store.destination, store.region), access.model_servers)
        around = Surroundings(
            "models",
            image.ref,
            "http://mlflow:5000",
            "mlflow",
            istio.gateways(),
            "http://prometheus",
            store=reads,
        )
        for model, reader in models.items():
            for version in reader.versions:
                ModelServer(f"{model}-v{version}", ModelServerArgs(model, version, around))

    return run(program)


@pytest.fixture(scope="module")
def made() -> Program:
    """The stack as it is by default."""
    return everything()


def document(resource: Recorded, key: str = "policy") -> list[dict[str, Any]]:
    """The statements of a document."""
    found: list[dict[str, Any]] = json.loads(resource.inputs[key])["Statement"]
    return found


def test_the_bucket_is_shut_encrypted_and_versioned(made: Program) -> None:
    one = made.one
    assert one("Bucket", "artifacts-primary-bucket").inputs == {"bucket": NAME}
    key = "arn:aws:kms:eu-central-1:123456789012:key/artifacts-primary-key-id"
    encryption = one("BucketServerSideEncryptionConfiguration", "artifacts-primary-encryption")
    assert encryption.inputs["rules"] == [
        {
            "applyServerSideEncryptionByDefault": {
                "sseAlgorithm": "aws:kms",
                "kmsMasterKeyId": key,
            },
            "bucketKeyEnabled": True,
        }
    ]
    shut = one("BucketPublicAccessBlock", "artifacts-primary-public-access").inputs
    assert [value for key, value in shut.items() if key != "bucket"] == [True] * 4
    versioning = one("BucketVersioning", "artifacts-primary-versioning").inputs
    assert versioning["versioningConfiguration"] == {"status": "Enabled"}
    owner = one("BucketOwnershipControls", "artifacts-primary-ownership").inputs
    assert owner["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    rules = one("BucketLifecycleConfiguration", "artifacts-primary-lifecycle").inputs["rules"]
    assert rules[0]["noncurrentVersionExpiration"] == {"noncurrentDays": 90}
    assert rules[1]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert one("Key", "artifacts-primary-key").inputs["enableKeyRotation"] is True


def test_what_holds_data_outlives_the_stack(made: Program) -> None:
    kept = {each.name for each in made.resources.values() if each.protect and each.retained}
    assert {
        *("artifacts-primary-key", "artifacts-primary-bucket", "artifacts-primary-policy"),
        *("artifacts-primary-encryption", "artifacts-primary-public-access"),
        *("artifacts-primary-versioning", "artifacts-primary-ownership"),
        *("database-key", "database-instance", "database-subnets", "database-group"),
        *("images-key", "images-repository"),
    } <= kept
    # One without the other is neither safe from a mistake nor left where it leaves the program. But
    # a new major version of the database leaves its parameters for others.
    halves = [each for each in made.resources.values() if each.protect != each.retained]
    assert [(each.name, each.retained) for each in halves] == [("database-parameters-17", True)]
    assert not {each.name for each in made.of("Role")} & kept


def test_a_database_that_may_go(made: Program) -> None:
    told = everything(database=Database(deletion_protection=False))
    instance = told.one("Instance", "database-instance")
    assert instance.inputs["deletionProtection"] is False
    assert instance.inputs["skipFinalSnapshot"] is False
    assert instance.inputs["finalSnapshotIdentifier"] == "slipway-prod-mlflow-final"
    mine = [each for each in told.custom() if each.name.startswith("database-")]
    assert len(mine) == len([one for one in made.custom() if one.name.startswith("database-")])
    # Nobody reads the last snapshot without the key.
    kept = {each.name for each in mine if each.protect or each.retained}
    assert kept == {"database-key"}
    key = told.one("Key", "database-key")
    assert key.protect and key.retained


def test_the_database(made: Program) -> None:
    inputs = made.one("Instance", "database-instance").inputs
    key = "arn:aws:kms:eu-central-1:123456789012:key/database-key-id"
    wanted = {
        "engine": "postgres",
        "engineVersion": "17",
        "autoMinorVersionUpgrade": True,
        "multiAz": True,
        "storageEncrypted": True,
        "kmsKeyId": key,
        "manageMasterUserPassword": True,
        "masterUserSecretKmsKeyId": key,
        "publiclyAccessible": False,
        "backupRetentionPeriod": 14,
        "copyTagsToSnapshot": True,
        "deletionProtection": True,
        "deleteAutomatedBackups": False,
        "performanceInsightsKmsKeyId": key,
        "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    }
    assert {name: inputs.get(name) for name in wanted} == wanted
    assert not {"password", "passwordWo"} & inputs.keys()
    group = made.one("ParameterGroup", "database-parameters-17").inputs
    assert group["family"] == "postgres17"
    assert {"name": "rds.force_ssl", "value": "1", "applyMethod": "immediate"} in group[
        "parameters"
    ]
    logs = {each.inputs["name"]: each.inputs["retentionInDays"] for each in made.of("LogGroup")}
    assert logs == {
        "/aws/rds/instance/slipway-prod-mlflow/postgresql": 90,
        "/aws/rds/instance/slipway-prod-mlflow/upgrade": 90,
    }


def test_a_database_that_is_kept_keeps_no_cluster(made: Program) -> None:
    """`destroy --exclude-protected` leaves all that something protected waits for. The rule is of
    the cluster's group; MLflow waits for it by the host.
    """
    assert "database-way-in" not in made.one("Instance", "database-instance").depends_on
    where: list[pulumi.Output[str]] = []

    def program() -> None:
        args = MlflowDatabaseArgs(PREFIX, ACCOUNT, REGION, "vpc-1", ["a", "b"], "sg-cluster")
        login = MlflowDatabase("database", args)
        where.append(login.host)
        Parameter("host", name="/host", type="String", value=login.host)

    told = run(program).one("Parameter", "host")
    assert {"database-way-in", "database-instance"} <= set(told.depends_on)


def test_a_full_version_stays_what_it_is() -> None:
    told = everything(database=Database(version="16.9", performance_insights=False))
    inputs = told.one("Instance", "database-instance").inputs
    assert (inputs["engineVersion"], inputs["autoMinorVersionUpgrade"]) == ("16.9", False)
    group = told.one("ParameterGroup", "database-parameters-16").inputs
    assert group["family"] == "postgres16"
    assert not [key for key in inputs if key.startswith("performanceInsights") and "E" not in key]


def test_a_newer_major_version_has_a_group_of_its_own(made: Program) -> None:
    """The old one, in use until the upgrade, is neither replaced nor protected from leaving."""
    assert made.one("Instance", "database-instance").inputs["allowMajorVersionUpgrade"] is False
    told = everything(database=Database(version="18", allow_major=True))
    instance = told.one("Instance", "database-instance")
    assert instance.inputs["engineVersion"] == "18"
    assert instance.inputs["allowMajorVersionUpgrade"] is True
    (group,) = told.of("ParameterGroup")
    assert group.inputs["family"] == "postgres18"
    assert instance.inputs["parameterGroupName"] == group.outputs["name"]
    (old,) = made.of("ParameterGroup")
    assert old.name != group.name
    assert old.retained and not old.protect


def test_only_the_cluster_reaches_the_database(made: Program) -> None:
    (rule,) = made.of("SecurityGroupIngressRule")
    assert rule.inputs == {
        "securityGroupId": "database-group-id",
        "referencedSecurityGroupId": "sg-cluster",
        "ipProtocol": "tcp",
        "fromPort": 5432,
        "toPort": 5432,
    }
    assert made.one("SecurityGroup", "database-group").inputs.keys() == {"description", "vpcId"}
    assert made.of("SecurityGroupEgressRule") == []


def test_one_role_for_mlflow_and_one_for_each_model(made: Program) -> None:
    bound = {
        (each.inputs["namespace"], each.inputs["serviceAccount"]): each.inputs["roleArn"]
        for each in made.of("PodIdentityAssociation")
    }
    roles = {account: arn.rpartition("role/")[2] for account, arn in bound.items()}
    assert roles == {
        ("mlflow", "mlflow"): "access-mlflow-role-1a2b3c4",
        ("models", "churn-v1"): "access-model-churn-role-1a2b3c4",
        ("models", "churn-v2"): "access-model-churn-role-1a2b3c4",
        ("models", "fraud-v7"): "access-model-fraud-role-1a2b3c4",
    }
    may = {each.name: {s["Sid"] for s in document(each)} for each in made.of("RolePolicy")}
    assert may["access-mlflow-policy"] == {
        *("ListArtifacts", "ReadAndWriteArtifacts", "UseKeyOfArtifacts"),
        *("ReadLogin", "UseKeyOfLogin"),
    }
    reading = {"ListArtifacts", "ReadArtifacts", "UseKeyOfArtifacts"}
    assert may["access-model-churn-policy"] == may["access-model-fraud-policy"] == reading
    secret = document(made.one("RolePolicy", "access-mlflow-policy"))[3]
    assert secret["Resource"] == [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1a2b"
    ]


def test_a_model_reads_its_experiments(made: Program) -> None:
    churn = {s["Sid"]: s for s in document(made.one("RolePolicy", "access-model-churn-policy"))}
    arn = f"arn:aws:s3:::{NAME}"
    assert churn["ReadArtifacts"]["Resource"] == [f"{arn}/mlflow/3/*", f"{arn}/mlflow/14/*"]
    fraud = {s["Sid"]: s for s in document(made.one("RolePolicy", "access-model-fraud-policy"))}
    assert fraud["ReadArtifacts"]["Resource"] == [f"{arn}/mlflow/*"]


def test_pods_of_a_version_wait_for_what_lets_them_in(made: Program) -> None:
    for server, model in (("churn-v1", "churn"), ("churn-v2", "churn"), ("fraud-v7", "fraud")):
        waits = made.one("Deployment", f"{server}-deployment").depends_on
        assert f"access-model-{model}-{server}" in waits
    association = made.one("PodIdentityAssociation", "access-model-churn-churn-v1")
    assert "access-model-churn-policy" in association.depends_on


def test_another_version_touches_its_own_association_alone(made: Program) -> None:
    after = everything(models=MODELS | {"churn": replace(MODELS["churn"], versions=(3, 2, 1))})
    ours = {key: each for key, each in made.resources.items() if each.type.startswith("aws:")}
    theirs = {key: each for key, each in after.resources.items() if each.type.startswith("aws:")}
    assert {name for _, name in theirs.keys() - ours.keys()} == {"access-model-churn-churn-v3"}
    assert {key: theirs[key].inputs for key in ours} == {key: ours[key].inputs for key in ours}


def test_the_order_of_versions_is_nothing(made: Program) -> None:
    after = everything(models=MODELS | {"churn": replace(MODELS["churn"], versions=(1, 2))})
    assert {key: each.inputs for key, each in after.resources.items()} == {
        key: each.inputs for key, each in made.resources.items()
    }


def test_names_of_roles_leave_room_for_what_pulumi_adds() -> None:
    longest = "m" * 51
    found = everything(models={longest: Reader((2147483647,)), f"{longest[:-1]}n": Reader((1,))})
    names = [each.name for each in found.of("Role")]
    assert len(set(names)) == 3 and max(map(len, names)) <= 64 - 8
    assert len(found.of("PodIdentityAssociation")) == 3


def test_a_replica_follows_in_another_region() -> None:
    bucket = Bucket(replica=Replica(region="eu-west-1", delete_markers=True), access_logs="logs")
    told = everything(bucket)
    copy = told.one("Bucket", "artifacts-replica-bucket")
    assert copy.inputs["bucket"] == f"{NAME}-eu-west-1"
    here = {each.provider for each in told.resources.values() if "artifacts-primary" in each.name}
    there = {
        each.provider
        for each in told.custom()
        if each.name.startswith("artifacts-replica-") and each.provider
    }
    assert there == {"elsewhere"} and "elsewhere" not in here
    config = told.one("BucketReplicationConfig", "artifacts-replication")
    (rule,) = config.inputs["rules"]
    assert rule["deleteMarkerReplication"] == {"status": "Enabled"}
    assert rule["destination"]["bucket"].endswith(copy.inputs["bucket"])
    assert config.provider == "aws"
    assert {
        *("artifacts-primary-versioning", "artifacts-replica-versioning"),
        "artifacts-replication-policy",
    } <= set(config.depends_on)
    logging = told.one("BucketLogging", "artifacts-logging").inputs
    assert (logging["targetBucket"], logging["targetPrefix"]) == ("logs", f"{NAME}/")


def test_a_replica_without_a_provider_is_no_replica() -> None:
    args = ArtifactBucketArgs(PREFIX, ACCOUNT, REGION, Bucket(replica=Replica(region="eu-west-1")))
    with pytest.raises(ValueError, match="artifacts: a replica takes a provider of its region"):
        run(lambda: ArtifactBucket("artifacts", args))


def test_images_are_pushed_by_digest_where_no_tag_moves(made: Program) -> None:
    repository = made.one("Repository", "images-repository").inputs
    assert repository["name"] == "slipway-prod/serving"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    (export,) = made.one("Image", "serving-image").inputs["exports"]
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    assert export["registry"]["names"] == [f"{host}/slipway-prod/serving"]
    assert export["registry"]["pushByDigest"] is True
    assert "images-policy" in made.one("Image", "serving-image").depends_on
    lifecycle = made.one("LifecyclePolicy", "images-lifecycle").inputs["policy"]
    assert json.loads(lifecycle)["rules"][0]["selection"]["countNumber"] == 100


def test_images_of_others_come_through() -> None:
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:ecr-pullthroughcache/hub-1a2b"
    images = Images(
        pull_through=["quay.io", "registry.k8s.io"],
        docker_hub_credentials=secret,
        enhanced_scanning=True,
    )
    told = everything(images=images)
    rules = {
        each.inputs["ecrRepositoryPrefix"]: (
            each.inputs["upstreamRegistryUrl"],
            each.inputs.get("credentialArn"),
        )
        for each in told.of("PullThroughCacheRule")
    }
    assert rules == {
        "slipway-prod/quay": ("quay.io", None),
        "slipway-prod/k8s": ("registry.k8s.io", None),
        "slipway-prod/hub": ("registry-1.docker.io", secret),
    }
    assert len(told.of("RepositoryCreationTemplate")) == 3
    (scanning,) = told.of("RegistryScanningConfiguration")
    assert scanning.inputs["scanType"] == "ENHANCED"


def test_prefixes_of_copies_are_never_too_long() -> None:
    prefix = naming.prefix("a-stack-with-a-very-long-name-indeed")
    images = Images(pull_through=["quay.io", "registry.k8s.io", "public.ecr.aws"])
    args = ImageRegistryArgs(prefix, ACCOUNT, REGION, images)
    told = run(lambda: ImageRegistry("images", args))
    prefixes = [each.inputs["ecrRepositoryPrefix"] for each in told.of("PullThroughCacheRule")]
    assert len(prefixes) == 3 and max(map(len, prefixes)) <= 30


def rules_of_aws(program: Program) -> list[str]:
    """What the policy pack says of what is on AWS."""
    stack = [
        Resource(
            f"urn:pulumi:prod::slipway::{each.type}::{each.name}",
            each.type,
            each.name,
            each.inputs,
            protect=each.protect,
        )
        for each in program.custom()
        if each.type.startswith("aws:")
    ]
    found = [
        f"{rule.name}: {finding.message}"
        for rule in ALL
        for finding in rule.judge(stack)
        if rule.name.split("-")[0] in ("s3", "iam", "rds", "data")
    ]
    return sorted(found)


def test_the_policy_pack_passes() -> None:
    replica = Bucket(replica=Replica(region="eu-west-1"), access_logs="logs")
    assert rules_of_aws(everything(replica)) == []


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda it: replace(it, protect=False), "data-protection: database-instance holds data"),
        (lambda it: replace(it, inputs=it.inputs | {"publiclyAccessible": True}), "rds-public"),
    ],
)
def test_the_policy_pack_would_tell(
    spoil: Callable[[Recorded], Recorded], rule: str, made: Program
) -> None:
    spoilt = Program(dict(made.resources))
    for key, each in made.resources.items():
        if each.name == "database-instance":
            spoilt.resources[key] = spoil(each)
    assert [line for line in rules_of_aws(spoilt) if line.startswith(rule)] != []


def test_model_servers_go_before_what_lets_them_in(made: Program) -> None:
    """Pulumi deletes in the reverse order of dependencies: pods, association, policy, role."""
    waits = {each.name: each.depends_on for each in made.resources.values()}

    def behind(name: str) -> set[str]:
        found = set(waits[name])
        return found.union(*(behind(other) for other in found if other in waits))

    assert {
        *("access-model-churn-churn-v1", "access-model-churn-policy", "access-model-churn-role"),
        *("artifacts-primary-key",),
    } <= behind("churn-v1-deployment")
    assert not [name for name in waits if name in behind(name)]
