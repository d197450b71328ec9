"""The stack of Pulumi.prod.yaml, whole, and its variants: types, names, what is kept, policies, and
the calls that would make it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.aws import graph, provider_types
from tests.aws.prod_stacks import KINDS, variant
from tests.aws.replay import replay, server
from tests.aws.replay_entrance import zone_at
from tests.aws.replay_table import TABLE
from tests.conftest import ROOT, Program
from tests.policy import stacks

# Kinds that no SDK describes: custom resources.
CUSTOM = (".istio.io/", "karpenter.k8s.aws/", "karpenter.sh/")


@pytest.mark.parametrize("name", KINDS)
def test_the_providers_know_every_input(name: str) -> None:
    report = provider_types.check(variant(name).custom())
    assert report.faults == []
    assert report.checked > 150
    assert [type_ for type_ in report.untyped if not any(one in type_ for one in CUSTOM)] == []


@pytest.mark.parametrize("name", KINDS)
def test_names_are_short_enough_and_nothing_waits_for_itself(name: str) -> None:
    assert graph.too_long(variant(name)) == []
    assert graph.cycle(variant(name)) == []
    assert graph.missing(variant(name)) == set()


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html
DESCRIPTION = re.compile(r"[a-zA-Z0-9. _:/()#,@\[\]+=&;{}!$*-]{1,255}")


@pytest.mark.parametrize("name", KINDS)
def test_ec2_takes_what_is_said_of_groups_and_rules(name: str) -> None:
    kinds = ("SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupEgressRule")
    made = [one for kind in kinds for one in variant(name).of(kind)]
    said = {one.name: one.inputs["description"] for one in made if "description" in one.inputs}
    assert {"entrance-group", "entrance-at-nodes", "ground-mlflow-group"} <= said.keys()
    assert {it: text for it, text in said.items() if not DESCRIPTION.fullmatch(text)} == {}


@pytest.mark.parametrize("name", KINDS)
def test_no_policy_is_broken(name: str) -> None:
    found = stacks.judge(stacks.of_program(variant(name), "prod"), stacks.configuration("prod"))
    assert (sorted(found.violations), sorted(found.undecided)) == ([], [])


def counted(program: Program) -> list[str]:
    """How many of what, as the rows of a table, by provider and service."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in program.custom():
        provider, place, kind = one.type.split(":")
        service = f"aws {place.split('/')[0]}" if provider == "aws" else provider
        found[service][kind] += 1
    return [
        f"| {service} | {sum(kinds.values())} | "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        + " |"
        for service, kinds in sorted(found.items())
    ]


def test_the_page_about_checks_says_how_much_there_is() -> None:
    page = (ROOT / "docs/aws-checks.md").read_text().splitlines()
    rows = counted(variant("prod"))
    assert [row for row in rows if row not in page] == [], "\n".join(rows)


PRIMARY = "ground-artifacts-primary"
KEPT = {
    # The models, what guards them and what they are encrypted with.
    *(f"{PRIMARY}-{part}" for part in ("bucket", "key", "policy", "public-access", "lifecycle")),
    *(f"{PRIMARY}-{part}" for part in ("encryption", "ownership", "versioning")),
    # MLflow's database, and what it cannot be without.
    *(f"ground-mlflow-{part}" for part in ("instance", "key", "group", "subnets")),
    # The images that models run in.
    *(f"ground-images-{part}" for part in ("repository", "key", "policy", "lifecycle")),
    # Secrets in backups of the cluster are under it.
    "ground-base-eks-key",
}


@pytest.mark.parametrize("name", KINDS)
def test_what_holds_data_is_kept_and_nothing_else(name: str) -> None:
    """The cluster is protected, for its nodes would go before EKS refuses; no data is lost. The
    database's parameters stay, for it is in use of them until it is upgraded.
    """
    found = {one.name for one in variant(name).resources.values() if one.protect and one.retained}
    copies = {each.replace("primary", "replica") for each in KEPT if PRIMARY in each}
    assert found == KEPT | (copies if name == "replica" else set())
    halves = [one for one in variant(name).resources.values() if one.protect != one.retained]
    assert {one.name: one.protect for one in halves} == {
        "ground-base-eks-cluster": True,
        "ground-mlflow-parameters-17": False,
    }


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with server() as endpoint:
        yield endpoint


EKS = {
    "eks/accessEntry:AccessEntry",
    "eks/accessPolicyAssociation:AccessPolicyAssociation",
    "eks/addon:Addon",
    "eks/podIdentityAssociation:PodIdentityAssociation",
}
ECR = {
    "ecr/pullThroughCacheRule:PullThroughCacheRule",
    "ecr/repositoryCreationTemplate:RepositoryCreationTemplate",
}
# What moto lacks, its parameters held to the API's model alone.
LACKING = dict.fromkeys(("prod", "karpenter", "waf", "replica", "zones"), EKS | ECR)


@pytest.mark.parametrize("name", LACKING)
def test_the_api_takes_what_the_provider_would_ask_of_it(moto: str, name: str) -> None:
    program = variant(name)
    found = replay(program, moto, TABLE, zone_at("Z0123456789ABCDEFGHIJ", "example.com"))
    assert (found.failures, found.left_out) == ([], {})
    assert set(found.unsupported) == LACKING[name]
    assert all("its parameters fit the API" in why for why in found.unsupported.values())
    aws = [one for one in program.custom() if one.type.startswith("aws:")]
    lacking = {f"aws:{kind}" for kind in LACKING[name]}
    assert set(found.done) == {(one.type, one.name) for one in aws if one.type not in lacking}
    documents = {
        (one.type, one.name) for one in aws if {"policy", "assumeRolePolicy"} & one.inputs.keys()
    }
    assert len(documents) > 14
    assert documents <= set(found.done)
