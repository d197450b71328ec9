"""What is asked of AWS before an update, of a server that speaks its API: all well, each fault."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import boto3
import pulumi
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import CredentialRetrievalError
from botocore.stub import Stubber
from moto import mock_aws

import preflight
import preflight_aws
from components.aws import naming
from components.manifests import mlflow_files
from preflight_aws import account
from preflight_aws.__main__ import main
from preflight_aws.asking import Clients, Finding, ask, boto, brief
from preflight_aws.entrance import covers
from preflight_aws.wanted import Bucket, Machines, Wanted
from preflight_aws.wanted import wanted as to_wanted
from settings.aws.entrance import Entrance

ACCOUNT, REGION = "123456789012", "eu-central-1"
ZONES = (f"{REGION}a", f"{REGION}b")
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
KEY = "slipway:aws"


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials, the AWS CLI and docker's helper, as on a machine that deploys."""
    for key in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("aws", "docker-credential-ecr-login"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {REGISTRY: "ecr-login"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


# Made once, for that takes longer than all else here.
SHARED = boto()


def here(service: str, region: str = REGION) -> Any:
    return SHARED(service, region)


def a_zone(name: str = "example.com", private: bool = False) -> str:
    network: dict[str, Any] = {}
    if private:
        vpc = here("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        network = {"VPC": {"VPCRegion": REGION, "VPCId": vpc}}
        network["HostedZoneConfig"] = {"PrivateZone": True}
    found = here("route53").create_hosted_zone(Name=name, CallerReference="1", **network)
    return str(found["HostedZone"]["Id"]).rpartition("/")[2]


def a_certificate(*names: str) -> str:
    """One that is issued: moto issues it once it was looked at."""
    acm = here("acm")
    arn = acm.request_certificate(
        DomainName=names[0], SubjectAlternativeNames=list(names), ValidationMethod="DNS"
    )["CertificateArn"]
    return str(arn)


def wanted(**keys: Any) -> Wanted:
    told = keys.pop("entrance", None) or {"zone": a_zone()}
    # moto's zones have ids of another shape than AWS'.
    zone = {"zone": told["zone"]} if "zone" in told else {}
    stand_in = dict.fromkeys(zone, "Z0123456789ABC")
    entrance = Entrance.model_validate({"domain": "models.example.com"} | told | stand_in)
    entrance = entrance.model_copy(update=zone)
    return replace(Wanted("prod", ACCOUNT, REGION, entrance, ZONES), **keys)


def findings(asked: Wanted, clients: Clients | None = None) -> list[str]:
    """What is found, notes with an asterisk."""
    found = preflight_aws.findings(asked, clients or SHARED)
    return [f"*{each.line}" if each.note else each.line for each in found]


def stubbed(service: str, **answers: Any) -> Clients:
    """Clients of which that of `service` answers one request as AWS' own model has it."""

    def clients(wanted: str, region: str) -> Any:
        if wanted != service:
            return SHARED(wanted, region)
        client = boto3.client(service, region_name=region)
        stub = Stubber(client)
        for operation, answer in answers.items():
            if isinstance(answer, str):
                stub.add_client_error(operation, service_error_code=answer)
            else:
                stub.add_response(operation, answer)
        stub.activate()
        return client

    return clients


def test_where_all_is_there_nothing_is_said(aws: None) -> None:
    here("s3").create_bucket(
        Bucket="logs-1", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    pools = (
        Machines("aws.nodes.instance_types", ("m7i.large", "m6i.large"), ZONES, 6),
        Machines("aws.gpu.instance_types", ("g4dn.xlarge",), ZONES, 2, gpu=True),
    )
    entrance = {"zone": a_zone(), "access_logs": {"bucket": "logs-1"}}
    asked = wanted(machines=pools, bucket=named("slipway-free"), addresses=1, entrance=entrance)
    assert findings(asked) == []


def test_without_credentials_one_line_and_nothing_else_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    asked = wanted(entrance={"zone": "Z0123456789ABC"})
    assert findings(asked, boto()) == [
        f"{KEY}.account: there are no credentials for AWS (NoCredentialsError); "
        "sign in (aws sso login), or name a profile (AWS_PROFILE)"
    ]
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert findings(asked, boto()) == [
        f"{KEY}.account: there are no credentials for AWS (ProfileNotFound); "
        "sign in (aws sso login), or name a profile (AWS_PROFILE)"
    ]


def test_credentials_of_another_account(aws: None) -> None:
    asked = replace(wanted(), account="210987654321", zones=("nowhere",))
    (line, hint) = findings(asked)
    assert line.startswith("*") and "docker has no credentials" in line
    assert hint == (
        f'{KEY}.account: "210987654321" is not the account of the credentials that are here '
        f"({ACCOUNT}); sign in (aws sso login), or name a profile (AWS_PROFILE)"
    )


ROLES = f"arn:aws:iam::{ACCOUNT}:role/"


@pytest.mark.parametrize(
    ("caller", "admins", "who"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/ci-7", [f"{ROLES}ci/deployer"], None),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/other/deployer", [f"{ROLES}deployer"], "role/other"),
        (f"arn:aws:iam::{ACCOUNT}:user/people/ada", [f"arn:aws:iam::{ACCOUNT}:user/ada"], None),
        (f"arn:aws:iam::{ACCOUNT}:user/ada", [f"{ROLES}ada"], "user/ada"),
        (f"arn:aws:iam::{ACCOUNT}:root", [f"{ROLES}deployer"], "root/"),
    ],
)
def test_credentials_that_could_not_enter_the_cluster(
    aws: None, caller: str, admins: list[str], who: str | None
) -> None:
    answer = {"UserId": "AIDAEXAMPLE", "Account": ACCOUNT, "Arn": caller}
    clients = stubbed("sts", get_caller_identity=answer)
    found = findings(wanted(admins=tuple(admins)), clients)
    said = f"{KEY}.cluster.admins: has no {who}, whose credentials are here: an update by them "
    assert found == ([f"{said}makes the cluster and cannot enter it"] if who else [])


def test_expired_credentials(aws: None) -> None:
    clients = stubbed("sts", get_caller_identity="ExpiredToken")
    assert findings(wanted(), clients) == [
        f"{KEY}.account: AWS refuses the credentials that are here (ExpiredToken); "
        "sign in (aws sso login), or name a profile (AWS_PROFILE)"
    ]


def test_what_a_helper_of_credentials_prints_is_not_shown(aws: None) -> None:
    def clients(service: str, region: str) -> Any:
        raise CredentialRetrievalError(provider="process", error_msg="the-secret")

    (line,) = findings(wanted(), clients)
    assert "CredentialRetrievalError" in line
    assert "the-secret" not in line


def test_an_aws_that_does_not_answer_is_one_note_within_seconds() -> None:
    def clients(service: str, region: str) -> Any:
        config = Config(connect_timeout=0.5, retries={"total_max_attempts": 1})
        return boto3.client(
            service, region_name=region, endpoint_url="http://127.0.0.1:1", config=config
        )

    asked = wanted(entrance={"zone": "Z0123456789ABC"})
    started = time.monotonic()
    assert findings(asked, clients) == [
        f"*{KEY}: AWS does not answer, so nothing of it was checked"
    ]
    assert time.monotonic() - started < 10


PAGE = "<html><body>Sign in to the network first</body></html>"
# XML, and so without what was asked, and what no parser of XML reads.
PAGES = [PAGE, PAGE.replace("</body>", "<br>")]


@contextmanager
def a_proxy(page: str, status: int = 200) -> Iterator[Clients]:
    """Clients of a server that answers all with `page`."""

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()

        def clients(service: str, region: str) -> Any:
            config = Config(retries={"total_max_attempts": 1})
            url = f"http://127.0.0.1:{server.server_port}"
            return boto3.client(service, region_name=region, endpoint_url=url, config=config)

        yield clients
        server.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_a_proxys_page_in_place_of_an_answer_is_one_line(page: str) -> None:
    unread = f"{KEY}: AWS' answer could not be read; is a proxy between?"
    asked = wanted(entrance={"zone": "Z0123456789ABC"})
    with a_proxy(page) as clients:
        assert findings(asked, clients) == [f"*{unread} Nothing was checked"]
        (found,) = ask(account.ZONES, clients, asked)
        assert found == Finding(
            f"{KEY}.network.zones: not checked: AWS' answer could not be read; is a proxy between?",
            note=True,
        )


def test_what_was_not_asked_is_not_called_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_file(tmp_path)
    with a_proxy(PAGE) as clients:
        for command in ("check", "leftovers"):
            assert main([command, "--stack", "prod"], tmp_path, clients) == 2
            said = capsys.readouterr()
            assert "is a proxy between?" in said.out + said.err
            assert "nothing speaks against" not in said.out


def test_of_a_page_little_is_shown() -> None:
    assert brief("  one\n line ") == "one line"
    assert brief(PAGE * 50).startswith(PAGE) and len(brief(PAGE * 50)) == 400


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("not-opted-in", f'"{REGION}" is not enabled in this account; aws account enable-region '),
        (None, f'"{REGION}" is no region of AWS (there: eu-west-1)'),
    ],
)
def test_a_region_that_the_account_does_not_have(aws: None, status: str | None, said: str) -> None:
    regions = [{"RegionName": "eu-west-1", "OptInStatus": "opt-in-not-required"}]
    if status:
        regions.append({"RegionName": REGION, "OptInStatus": status})
    (line,) = findings(wanted(), stubbed("ec2", describe_regions={"Regions": regions}))
    assert line.startswith(f"{KEY}.region: {said}")


def test_a_zone_that_there_is_not(aws: None) -> None:
    assert findings(wanted(zones=(*ZONES, f"{REGION}z"))) == [
        f'{KEY}.network.zones: "{REGION}z" is no zone of this account '
        f"(there: {REGION}a, {REGION}b, {REGION}c); name others"
    ]


def test_a_zone_without_control_planes(aws: None) -> None:
    zones = [
        {"ZoneName": f"us-east-1{letter}", "ZoneId": f"use1-az{number}", "State": "available"}
        for letter, number in (("a", 3), ("b", 1), ("c", 2))
    ]
    clients = stubbed("ec2", describe_availability_zones={"AvailabilityZones": zones})
    question = preflight_aws.account.ZONES

    def lines(*letters: str) -> list[str]:
        asked = wanted(zones=tuple(f"us-east-1{letter}" for letter in letters))
        return [each.line for each in preflight_aws.ask(question, clients, asked)]

    assert lines("a", "b", "c") == [
        f'{KEY}.network.zones: "us-east-1a" is use1-az3 in this account, where EKS has no control '
        "plane, which lies in the first two zones; name others first"
    ]
    # Nodes may be there.
    assert lines("b", "c", "a") == []


def pool(*types: str, **keys: Any) -> Machines:
    return Machines("aws.gpu.instance_types", types, keys.pop("zones", ZONES), 2, **keys)


def test_machines_that_are_not_offered_or_not_in_all_zones(aws: None) -> None:
    offers = here("ec2").describe_instance_type_offerings(LocationType="availability-zone")
    by_type: dict[str, set[str]] = {}
    for each in offers["InstanceTypeOfferings"]:
        by_type.setdefault(each["InstanceType"], set()).add(each["Location"])
    some, (there, *_) = next(
        (name, sorted(zones)) for name, zones in sorted(by_type.items()) if len(zones) == 1
    )
    lacking = [zone for zone in (f"{REGION}a", f"{REGION}b", f"{REGION}c") if zone != there]
    asked = wanted(machines=(pool("p99.large", some, zones=(*lacking, there)),))
    assert findings(asked) == [
        f'{KEY}.gpu.instance_types: "p99.large" is not offered in {REGION}; name another type',
        f'{KEY}.gpu.instance_types: "{some}" is not offered in {", ".join(lacking)} '
        f"(there: {there}); name another type, or zones that have it",
    ]


def test_a_machine_of_a_gpu_pool_without_a_gpu(aws: None) -> None:
    assert findings(wanted(machines=(pool("m7i.large", "g4dn.xlarge", gpu=True),))) == [
        f'{KEY}.gpu.instance_types: "m7i.large" has no GPU; name a type that has one'
    ]


@pytest.mark.parametrize(
    ("state", "type_", "zone", "said"),
    [
        ("active", "p5.48xlarge", ZONES[0], []),
        ("expired", "p5.48xlarge", ZONES[0], ["is expired; name one that is active"]),
        (
            "active",
            "p4d.24xlarge",
            ZONES[0],
            ["is of p4d.24xlarge, and the pool of p5.48xlarge"],
        ),
        (
            "scheduled",
            "p5.48xlarge",
            f"{REGION}c",
            [f"is in {REGION}c, and the pool in {ZONES[0]}"],
        ),
    ],
)
def test_a_capacity_reservation(
    aws: None, state: str, type_: str, zone: str, said: list[str]
) -> None:
    found = {"State": state, "InstanceType": type_, "AvailabilityZone": zone}
    answer = {"CapacityReservations": [found]}
    machines = pool("p5.48xlarge", zones=ZONES[:1], reservation="cr-0123456789abcdef0")
    question = next(
        each
        for each in preflight_aws.machines.questions(wanted(machines=(machines,)))
        if each.key == "aws.gpu.reservation"
    )
    clients = stubbed("ec2", describe_capacity_reservations=answer)
    lines = [each.line for each in preflight_aws.ask(question, clients, wanted())]
    start = f'{KEY}.gpu.reservation: "cr-0123456789abcdef0" '
    assert lines == [start + each for each in said]
    clients = stubbed("ec2", describe_capacity_reservations="InvalidCapacityReservationId.NotFound")
    (line,) = [each.line for each in preflight_aws.ask(question, clients, wanted())]
    assert line == f"{start}is no capacity reservation in {REGION}"


def quota(value: float) -> dict[str, Any]:
    return {"Quota": {"Value": value}}


def test_a_quota_that_is_too_small_is_a_note(aws: None) -> None:
    machines = (pool("g4dn.xlarge", gpu=True),)
    asked = wanted(machines=machines)
    assert findings(asked, stubbed("service-quotas", get_service_quota=quota(8))) == []
    assert findings(asked, stubbed("service-quotas", get_service_quota=quota(0))) == [
        f"*{KEY}.gpu.instance_types: 2 machines of g4dn.xlarge have 8 vCPUs, and the account may "
        "run 0 of such; ask for more (Service Quotas, EC2, L-DB2E81BA)"
    ]


def test_spot_machines_take_a_role_of_the_account(aws: None) -> None:
    asked = wanted(spot="aws.karpenter.cpu.capacity")
    assert findings(asked) == [
        f"*{KEY}.karpenter.cpu.capacity: spot takes the role AWSServiceRoleForEC2Spot, which an "
        "account has once it had such a machine, and this one has not; "
        "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
    ]
    here("iam").create_role(
        RoleName="AWSServiceRoleForEC2Spot",
        Path="/aws-service-role/",
        AssumeRolePolicyDocument="{}",
    )
    assert findings(asked) == []


def test_addresses_that_the_account_has_no_room_for(aws: None) -> None:
    ec2 = here("ec2")
    for _ in range(4):
        ec2.allocate_address(Domain="vpc")
    clients = stubbed("service-quotas", get_service_quota=quota(5))
    assert findings(wanted(addresses=1), clients) == []
    assert findings(wanted(addresses=3), clients) == [
        f"*{KEY}.network.nat: 3 more Elastic IPs are wanted, and of 5 the account has 4 in use; "
        "nat: one takes one, or ask for more (Service Quotas, EC2, L-0263D0A3)"
    ]
    own = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "slipway:stack", "Value": "prod"}]}]
    ec2.allocate_address(Domain="vpc", TagSpecifications=own)
    assert findings(wanted(addresses=1), clients) == []


def test_a_zone_of_names_that_is_not_there(aws: None) -> None:
    assert findings(wanted(entrance={"zone": "Z0123456789ABC"})) == [
        f'{KEY}.entrance.zone: "Z0123456789ABC" is no zone of this account; '
        "aws route53 list-hosted-zones"
    ]


def test_a_domain_outside_its_zone(aws: None) -> None:
    zone = a_zone("example.com")
    entrance = {"zone": zone, "mlflow_host": "mlflow.example.org"}
    assert findings(wanted(entrance=entrance)) == [
        f'{KEY}.entrance.mlflow_host: "mlflow.example.org" does not lie in the zone example.com '
        f"({zone}); name one below it, or its own zone"
    ]
    entrance = {"zone": a_zone("ample.com"), "mlflow_host": "ml.ample.com"}
    (line,) = findings(wanted(entrance=entrance))
    assert line.startswith(f'{KEY}.entrance.domain: "models.example.com" does not lie in the zone ')


def test_a_private_zone_proves_no_certificate(aws: None) -> None:
    zone = a_zone(private=True)
    (line,) = findings(wanted(entrance={"zone": zone}))
    assert line == (
        f'{KEY}.entrance.zone: "{zone}" is private (example.com), and nobody outside sees it, so '
        "it proves no certificate; name a public one, or a certificate of your own"
    )
    arn = a_certificate("models.example.com", "*.models.example.com")
    here("acm").describe_certificate(CertificateArn=arn)
    issued = stubbed("acm", describe_certificate=described(arn))
    assert findings(wanted(entrance={"zone": zone, "certificate": arn}), issued) == []


def described(arn: str, status: str = "ISSUED", *names: str) -> dict[str, Any]:
    names = names or ("models.example.com", "*.models.example.com")
    return {
        "Certificate": {
            "CertificateArn": arn,
            "Status": status,
            "DomainName": names[0],
            "SubjectAlternativeNames": list(names),
        }
    }


def test_a_certificate_that_is_not_there_not_issued_or_of_other_names(aws: None) -> None:
    missing = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012"
    said = f'{KEY}.entrance.certificate: "{missing}" '
    asked = wanted(entrance={"certificate": missing})
    assert findings(asked) == [f"{said}is no certificate in {REGION}"]
    clients = stubbed("acm", describe_certificate=described(missing, "PENDING_VALIDATION"))
    assert findings(asked, clients) == [
        f"{said}is PENDING_VALIDATION, not ISSUED; a balancer refuses it"
    ]
    clients = stubbed("acm", describe_certificate=described(missing, "ISSUED", "*.example.com"))
    assert findings(asked, clients) == [
        f"{said}does not cover mlflow.models.example.com (covered: *.example.com)"
    ]
    real = a_certificate("models.example.com", "other.example.com")
    (line, *_) = [
        line for line in findings(wanted(entrance={"certificate": real})) if "cover" in line
    ]
    assert "does not cover mlflow.models.example.com" in line


@pytest.mark.parametrize(
    ("name", "host", "does"),
    [
        ("models.example.com", "models.example.com", True),
        ("*.example.com", "models.example.com", True),
        ("*.example.com", "mlflow.models.example.com", False),
        ("*.example.com", "example.com", False),
        ("example.com", "models.example.com", False),
    ],
)
def test_a_star_is_one_label(name: str, host: str, does: bool) -> None:
    assert covers(name, host) is does


def a_bucket(name: str, region: str = REGION, **tags: str) -> None:
    client = here("s3", region)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    if tags:
        tagged = [{"Key": "slipway:stack", "Value": value} for value in tags.values()]
        client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tagged})


def named(name: str) -> Bucket:
    return Bucket("aws.bucket.name", name, REGION)


def a_cluster(name: str = "slipway-prod") -> None:
    here("eks").create_cluster(
        name=name,
        roleArn=f"{ROLES}cluster",
        resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
    )


def test_a_bucket_of_this_stack_is_fine(aws: None) -> None:
    a_bucket("models-prod", stack="prod")
    a_cluster()
    assert findings(wanted(bucket=named("models-prod"))) == []


TAKE_UP = 'take it up (docs/aws-data.md, "Taking up what was kept")'


def test_what_a_destroy_kept_is_said_before_the_update_stops_at_it(aws: None) -> None:
    a_bucket("models-prod", stack="prod")
    tags = [{"Key": "slipway:stack", "Value": "prod"}]
    here("ecr").create_repository(repositoryName="slipway-prod/serving", tags=tags)
    a_cluster("slipway-staging")
    asked = wanted(bucket=named("models-prod"), repository="slipway-prod/serving")
    said = "is there, and no cluster slipway-prod: if it was kept by a destroy, "
    assert findings(asked) == [
        f'*{KEY}.bucket.name: "models-prod" {said}{TAKE_UP}, or the update stops at it',
        f'*{KEY}.registry: "slipway-prod/serving" {said}{TAKE_UP}, or the update stops at it',
    ]
    a_cluster()
    assert findings(asked) == []


def test_a_login_to_docker_hub_that_is_not_there_or_going(aws: None) -> None:
    secrets = here("secretsmanager")
    arn = secrets.create_secret(Name="ecr-pullthroughcache/hub", SecretString="{}")["ARN"]
    assert findings(wanted(docker_hub=arn)) == []
    secrets.delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    start = f"{KEY}.registry.docker_hub_credentials:"
    assert findings(wanted(docker_hub=arn)) == [
        f'{start} "{arn}" is scheduled for deletion; aws secretsmanager restore-secret, or name '
        "another"
    ]
    missing = arn.replace("/hub", "/none")
    assert findings(wanted(docker_hub=missing)) == [
        f'{start} "{missing}" is no secret in {REGION} '
        f"(aws secretsmanager list-secrets --region {REGION})"
    ]


def test_a_repository_of_no_stack(aws: None) -> None:
    asked = wanted(repository="slipway-prod/serving")
    assert findings(asked) == []
    here("ecr").create_repository(repositoryName="slipway-prod/serving")
    assert findings(asked) == [
        f'{KEY}.registry: "slipway-prod/serving" is there, in this account, and of no stack of '
        f"Slipway; delete it, or tag it slipway:stack=prod and {TAKE_UP}"
    ]


@pytest.mark.parametrize(
    ("tags", "whose"),
    [({}, "of no stack of Slipway"), ({"stack": "staging"}, "of stack staging")],
)
def test_a_bucket_of_this_account_and_not_of_this_stack(
    aws: None, tags: dict[str, str], whose: str
) -> None:
    a_bucket("models-prod", **tags)
    assert findings(wanted(bucket=named("models-prod"))) == [
        f'{KEY}.bucket.name: "models-prod" is there, in this account, and {whose}; '
        f"name another, or tag it slipway:stack=prod and {TAKE_UP}"
    ]


def test_a_bucket_of_another_account_or_region(aws: None) -> None:
    clients = stubbed("s3", head_bucket="403")
    assert findings(wanted(bucket=named("models")), clients) == [
        f'{KEY}.bucket.name: "models" is taken: it is not a bucket that these credentials may see; '
        "name another"
    ]
    made_up = Bucket("aws.bucket.name", "slipway-prod-artifacts-1", REGION, given=False)
    assert findings(wanted(bucket=made_up), clients) == [
        f"*{KEY}.bucket.name: not checked: these credentials may not ask (slipway-prod-artifacts-1)"
    ]
    a_bucket("models-west", "eu-west-1")
    assert findings(wanted(bucket=named("models-west"))) == [
        f'{KEY}.bucket.name: "models-west" is there, in eu-west-1, and not in {REGION}; '
        "name another"
    ]


def test_the_buckets_copy_in_another_region(aws: None) -> None:
    copy = Bucket("aws.bucket.replica.name", "models-copy", "eu-west-1")
    asked = wanted(replica=copy)
    assert findings(asked) == []
    a_bucket("models-copy", "eu-west-1", stack="staging")
    (line,) = findings(asked)
    assert line.startswith(f'{KEY}.bucket.replica.name: "models-copy" is there, in this account, ')
    regions = {"Regions": [{"RegionName": "eu-west-1", "OptInStatus": "not-opted-in"}]}
    (question,) = preflight_aws.account.replica(asked)
    clients = stubbed("ec2", describe_regions=regions)
    assert [each.line for each in preflight_aws.ask(question, clients, asked)] == [
        f'{KEY}.bucket.replica.region: "eu-west-1" is not enabled in this account; '
        "aws account enable-region --region-name eu-west-1"
    ]
    regions["Regions"][0]["RegionName"] = REGION
    clients = stubbed("ec2", describe_regions=regions)
    assert [each.line for each in preflight_aws.ask(question, clients, asked)] == [
        f'{KEY}.bucket.replica.region: "eu-west-1" is no region of AWS (there: {REGION})'
    ]


def test_a_bucket_for_logs_has_to_be_there(aws: None) -> None:
    entrance = {"zone": a_zone(), "access_logs": {"bucket": "no-logs"}}
    assert findings(wanted(entrance=entrance)) == [
        f'{KEY}.entrance.access_logs.bucket: "no-logs" is no bucket there is; make it first, '
        "for the balancer"
    ]
    a_bucket("no-logs", "eu-west-1")
    assert findings(wanted(entrance=entrance)) == [
        f'{KEY}.entrance.access_logs.bucket: "no-logs" is in eu-west-1, and the balancer in '
        f"{REGION}; name one there"
    ]


def kubernetes(**versions: str) -> dict[str, Any]:
    return {
        "clusterVersions": [
            {"clusterVersion": key.replace("_", ".").lstrip("v"), "versionStatus": status}
            for key, status in versions.items()
        ]
    }


OFFERED = kubernetes(v1_33="EXTENDED_SUPPORT", v1_34="STANDARD_SUPPORT", v1_20="UNSUPPORTED")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.34", []),
        (
            "1.33",
            [f'*{KEY}.cluster.version: "1.33" is out of standard support: AWS bills more for it'],
        ),
        (
            "1.20",
            [f'{KEY}.cluster.version: "1.20" is no version that EKS offers (offered: 1.33, 1.34)'],
        ),
    ],
)
def test_a_version_of_kubernetes(aws: None, version: str, said: list[str]) -> None:
    clients = stubbed("eks", describe_cluster_versions=OFFERED)
    assert findings(wanted(kubernetes=version), clients) == said


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("v1.13.2-eksbuild.11", []),
        (
            "v1.11.1-eksbuild.1",
            [
                f'{KEY}.cluster.add_ons.coredns: "v1.11.1-eksbuild.1" is no version that EKS '
                "offers for 1.34 (newest: v1.13.2-eksbuild.11, v1.13.2-eksbuild.9)"
            ],
        ),
    ],
)
def test_a_version_of_an_add_on(aws: None, version: str, said: list[str]) -> None:
    offered = ["v1.13.2-eksbuild.11", "v1.13.2-eksbuild.9"]
    answer = {
        "addons": [
            {"addonName": "coredns", "addonVersions": [{"addonVersion": each} for each in offered]}
        ]
    }
    asked = wanted(kubernetes="1.34", add_ons={"coredns": version})
    (question,) = (
        each for each in preflight_aws.kubernetes.questions(asked) if "add_ons" in each.key
    )
    clients = stubbed("eks", describe_addon_versions=answer)
    assert [each.line for each in preflight_aws.ask(question, clients, asked)] == said


def test_what_these_credentials_may_not_ask_is_a_note(aws: None) -> None:
    asked = wanted()
    clients = stubbed("route53", get_hosted_zone="AccessDenied")
    assert findings(asked, clients) == [
        f"*{KEY}.entrance.zone: not checked: these credentials may not ask (GetHostedZone)"
    ]
    clients = stubbed("route53", get_hosted_zone="InternalFailure")
    assert findings(asked, clients) == [
        f"*{KEY}.entrance.zone: not checked: AWS answers InternalFailure to GetHostedZone"
    ]


def test_this_machine_needs_aws_and_should_sign_in_at_the_registry(
    aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    cli, docker = findings(wanted())
    assert cli == (
        f"{KEY}: there is no aws on PATH, which gets the cluster's tokens; install the AWS CLI, "
        "version 2"
    )
    assert docker == (
        f"*{KEY}.registry: docker has no credentials for {REGISTRY}, so the serving image may not "
        "be pushed; install docker-credential-ecr-login, and in docker's config.json: "
        f'"credHelpers": {{"{REGISTRY}": "ecr-login"}}'
    )


@pytest.mark.parametrize(
    ("config", "fine"),
    [
        ({"auths": {REGISTRY: {"auth": "czNjcjN0"}}}, True),
        ({"credsStore": "ecr-login"}, True),
        ({"credsStore": "desktop"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_docker_may_sign_in_in_other_ways(
    aws: None, tmp_path: Path, config: Any, fine: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = findings(wanted())
    assert len(found) == (not fine)
    assert "czNjcjN0" not in str(found)


def test_the_settings_say_what_is_wanted() -> None:
    entrance = Entrance(domain="models.example.com", zone="Z0123456789ABC")
    nodes = SimpleNamespace(instance_types=["m7i.large"], max=6, capacity="on-demand")
    gpu = SimpleNamespace(
        instance_types=["p5.48xlarge"], max=2, capacity="block", zones=["z1"], reservation="cr-1"
    )
    sections: Any = SimpleNamespace(
        account=ACCOUNT,
        region=REGION,
        entrance=entrance,
        network=SimpleNamespace(nat="zone", in_zones=lambda region: [f"{region}a", f"{region}b"]),
        cluster=SimpleNamespace(
            version="1.34", add_on_versions={"coredns": "v1"}, admins=[f"{ROLES}deployer"]
        ),
        bucket=SimpleNamespace(name="models", replica=None),
        nodes=nodes,
        gpu=gpu,
        karpenter=None,
        registry=SimpleNamespace(docker_hub_credentials="arn:of-a-secret"),
    )
    found = to_wanted("prod", sections)
    sections.bucket.name = None
    assert to_wanted("prod", sections).bucket == Bucket(
        "aws.bucket.name", f"slipway-prod-artifacts-{ACCOUNT}", REGION, given=False
    )
    assert found.repository == f"slipway-prod/{naming.REPOSITORY}"
    assert (found.zones, found.addresses) == (ZONES, 2)
    assert (found.kubernetes, found.add_ons) == ("1.34", {"coredns": "v1"})
    assert (found.bucket, found.replica) == (named("models"), None)
    sections.bucket.replica = SimpleNamespace(region="eu-west-1", name=None)
    assert to_wanted("prod", sections).replica == Bucket(
        "aws.bucket.replica.name",
        f"slipway-prod-artifacts-{ACCOUNT}-eu-west-1",
        "eu-west-1",
        given=False,
    )
    assert (found.spot, found.docker_hub) == (None, "arn:of-a-secret")
    sections.karpenter = SimpleNamespace(cpu=SimpleNamespace(capacity="spot"))
    assert to_wanted("prod", sections).spot == "aws.karpenter.cpu.capacity"
    nodes.capacity = "spot"
    assert to_wanted("prod", sections).spot == "aws.nodes.capacity"
    nodes.capacity = "on-demand"
    assert found.admins == (f"{ROLES}deployer",)
    assert found.machines == (
        Machines("aws.nodes.instance_types", ("m7i.large",), ZONES, 6),
        Machines(
            "aws.gpu.instance_types", ("p5.48xlarge",), ("z1",), 2, gpu=True, reservation="cr-1"
        ),
    )


def aws_settings(monkeypatch: pytest.MonkeyPatch, said: list[preflight_aws.Finding]) -> Any:
    monkeypatch.setattr(preflight_aws, "check", lambda stack, aws: said)
    monkeypatch.setattr(pulumi, "get_stack", lambda: "prod")
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", told.append)
    return told


def test_preflight_asks_aws_and_no_cluster_where_the_update_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from settings import derived, parse

    for chart in preflight.CHARTS:
        (tmp_path / chart).mkdir(parents=True)
        (tmp_path / chart / "Chart.yaml").touch()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    entrance = {"domain": "models.example.com", "zone": "Z0123456789ABC"}
    cluster = {"admins": [ADMIN]}
    sections = {"account": ACCOUNT, "region": REGION, "entrance": entrance, "cluster": cluster}
    raw: Mapping[str, Any] = {
        "aws": sections,
        "istio": {"charts": str(tmp_path)},
        "mlflow": {"database": {"ca": "rds-ca.pem"}, "sign_in": {"basic": True}},
    }
    monkeypatch.setattr(mlflow_files, "faults", lambda found: [])
    settings = parse(derived(raw))
    told = aws_settings(monkeypatch, [])
    entry = {"cookie_secret": "c" * 32, "htpasswd": f"ada:$2y$12${'a' * 53}"}
    preflight.check(settings, {}, {}, entry)
    assert told == []
    told = aws_settings(
        monkeypatch,
        [preflight_aws.Finding("a fault"), preflight_aws.Finding("a note", note=True)],
    )
    with pytest.raises(pulumi.RunError) as raised:
        preflight.check(settings, {}, {}, entry)
    assert (str(raised.value), told) == ("a fault", ["a note"])
    # Who previews may be another than who updates.
    told = aws_settings(monkeypatch, [preflight_aws.Finding("who", in_preview=True)])
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    preflight.check(settings, {}, {}, entry)
    assert told == ["who"]
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    with pytest.raises(pulumi.RunError, match="^who$"):
        preflight.check(settings, {}, {}, entry)


ADMIN = f"arn:aws:iam::{ACCOUNT}:role/deploys"


def a_file(folder: Path) -> None:
    """Of the stack prod, with what it needs at least."""
    entrance = {"domain": "models.example.com", "zone": "Z0123456789ABC"}
    aws = {"account": ACCOUNT, "region": REGION, "entrance": entrance}
    mlflow = {"database": {"ca": "rds-ca.pem"}, "sign_in": {"basic": True}}
    config = {"slipway:aws": aws | {"cluster": {"admins": [ADMIN]}}, "slipway:mlflow": mlflow}
    (folder / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))


def test_the_command_line_reads_the_stacks_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments), tmp_path)
        out, err = capsys.readouterr()
        return status, out, err

    assert ask("check", "--stack", "prod") == (
        2,
        "",
        f"{tmp_path}/Pulumi.prod.yaml: cannot be read (No such file or directory); "
        "is this the stack's project?\n",
    )
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text("config:\n  slipway:aws:\n    region: a: b\n  slipway:demo: true\n")
    assert ask("check", "--stack", "prod") == (2, "", f"{file}:3: is no YAML\n")
    file.write_text(yaml.safe_dump({"config": {"slipway:aws": {"region": REGION}}}))
    status, _, err = ask("check", "--stack", "prod")
    assert (status, "slipway:aws.account: is not set" in err) == (2, True)
    file.write_text(yaml.safe_dump({"config": {"slipway:context": "a", "slipway:registry": "b"}}))
    assert ask("leftovers", "--stack", "org/prod")[2] == (
        f"{file}: has no slipway:aws, so nothing of it is on AWS\n"
    )


def test_a_python_that_is_not_the_projects_is_told_the_remedy() -> None:
    command = [sys.executable, "-I", "-S", "-c", "import sys; print(sys.base_prefix)"]
    base = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        [f"{base}/bin/python3", "-S", "-m", "preflight_aws", "check", "--stack", "prod"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert 'eval "$(make -s env STACK=prod)"' in done.stderr
