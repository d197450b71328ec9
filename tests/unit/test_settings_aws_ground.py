"""Settings of the ground on AWS: what is taken, and what each fault says, to the letter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from settings import SettingsError, faults, parse
from settings.aws import Aws, instances
from settings.aws.cluster import ADD_ONS, AddOn, EksCluster
from settings.aws.network import Network, smallest, subnets

DEPLOYER = "arn:aws:iam::123456789012:role/deployer"
GUEST = "arn:aws:iam::123456789012:user/people/guest"
SSO = (
    "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/"
    "AWSReservedSSO_Admins_0123456789abcdef"
)
BASE = {
    "account": "123456789012",
    "region": "eu-central-1",
    "cluster": {"admins": [DEPLOYER]},
    "entrance": {"domain": "models.example.com", "zone": "Z0123456789ABC"},
}


def said(**aws: Any) -> list[str]:
    """The faults of a whole configuration with these keys of aws."""
    with pytest.raises(ValidationError) as caught:
        Aws.model_validate({**BASE, **aws})
    return faults.lines(caught.value, {}, Aws, "aws")


def of_network(**keys: Any) -> list[str]:
    return said(network=keys)


def of_cluster(**keys: Any) -> list[str]:
    return said(cluster={"admins": [DEPLOYER], **keys})


def of_nodes(**keys: Any) -> list[str]:
    return said(nodes=keys)


def test_a_fault_stands_under_aws() -> None:
    aws = {**BASE, "network": {"nat": "two"}}
    with pytest.raises(SettingsError) as caught:
        parse({"aws": aws})
    assert 'slipway:aws.network.nat: "two" is not one of one or zone' in caught.value.faults


def test_the_cluster_names_who_may_enter() -> None:
    without = {key: value for key, value in BASE.items() if key != "cluster"}
    with pytest.raises(ValidationError) as caught:
        Aws.model_validate(without)
    assert faults.lines(caught.value, {}, Aws, "aws") == [
        "aws:cluster: is not set; it takes an object with admins, who may do all in the cluster"
    ]


def test_three_zones_unless_told() -> None:
    network = Network()
    assert network.in_zones("eu-west-1") == ("eu-west-1a", "eu-west-1b", "eu-west-1c")
    assert network.in_zones("ap-northeast-1")[1] == "ap-northeast-1c"
    assert [str(one) for one in network.subnets.private] == [
        "10.64.0.0/18",
        "10.64.64.0/18",
        "10.64.128.0/18",
    ]
    assert [str(one) for one in network.subnets.public] == [
        "10.64.192.0/20",
        "10.64.208.0/20",
        "10.64.224.0/20",
    ]


@given(
    st.integers(min_value=2, max_value=6),
    st.integers(min_value=16, max_value=20),
    st.integers(min_value=0, max_value=2**20 - 1),
)
def test_subnets_lie_inside_and_apart(zones: int, prefix: int, at: int) -> None:
    from ipaddress import IPv4Network

    whole = IPv4Network((at << 12, prefix), strict=False)
    if prefix > smallest(zones):
        with pytest.raises(ValueError, match=f"is smaller than a /{smallest(zones)}"):
            subnets(str(whole), zones)
        return
    made = subnets(str(whole), zones)
    assert len(made.private) == len(made.public) == zones
    every = made.private + made.public
    assert all(one.subnet_of(whole) for one in every)
    assert not any(one.overlaps(other) for one, other in combinations(every, 2))
    assert all(one.prefixlen <= 22 for one in made.private)
    assert all(one.prefixlen <= 27 for one in made.public)


def test_a_third_zone_moves_no_subnet() -> None:
    two, three = subnets("10.64.0.0/16", 2), subnets("10.64.0.0/16", 3)
    assert three.private[:2] == two.private and three.public[:2] == two.public


NO_SERVICES = (
    "is no part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 from /12 to /24, as EKS takes"
)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"zones": []}, "zones: [] are fewer than two zones; EKS and RDS take two at least"),
        (
            {"zones": ["eu-central-1a"]},
            'zones: ["eu-central-1a"] are fewer than two zones; EKS and RDS take two at least',
        ),
        (
            {"zones": ["eu-central-1a", "eu-central-1a"]},
            'zones: ["eu-central-1a", "eu-central-1a"] name eu-central-1a twice',
        ),
        (
            {"zones": ["eu-central-1a", "eu-west-1b"]},
            'zones[1]: "eu-west-1b" is no zone of eu-central-1, as in eu-central-1a',
        ),
        ({"zones": ["a", "eu-west-1b"]}, 'zones[0]: "a" is not a zone, as in us-east-1a'),
        (
            {"cidr": "10.0.0.0/21"},
            'cidr: "10.0.0.0/21" is too small: 3 zones take a /20 or larger, for each pod has an '
            "address of a private subnet and a node takes them in blocks of 16",
        ),
        (
            {"cidr": "10.0.0.0/20", "zones": [f"eu-central-1{letter}" for letter in "abcd"]},
            'cidr: "10.0.0.0/20" is too small: 4 zones take a /19 or larger, for each pod has an '
            "address of a private subnet and a node takes them in blocks of 16",
        ),
        (
            {"cidr": "10.0.0.0/15"},
            'cidr: "10.0.0.0/15" is larger than a /16, the largest that AWS makes',
        ),
        ({"cidr": "10.0.0.1/16"}, 'cidr: "10.0.0.1/16" is not a network such as 10.0.0.0/8'),
        ({"cidr": "fd00::/48"}, 'cidr: "fd00::/48" is not a network of IPv4'),
        (
            {"cidr": "8.8.0.0/16"},
            'cidr: "8.8.0.0/16" is no private network, such as 10.64.0.0/16',
        ),
        (
            {"private": ["10.64.0.0/20", "10.64.16.0/20"]},
            'private: ["10.64.0.0/20", "10.64.16.0/20"] are 2 subnets for 3 zones; give one a zone',
        ),
        (
            {"private": ["10.64.0.0/20", "10.64.16.0/20", "10.65.0.0/20"]},
            'private[2]: "10.65.0.0/20" lies outside of cidr, 10.64.0.0/16',
        ),
        (
            {"private": ["10.64.0.0/20", "10.64.16.0/20", "10.64.32.0/23"]},
            'private[2]: "10.64.32.0/23" is too small: a private subnet is a /22',
        ),
        (
            {"private": ["10.64.0.0/20", "10.64.8.0/21", "10.64.32.0/20"]},
            'private[1]: "10.64.8.0/21" overlaps 10.64.0.0/20 of private[0]',
        ),
        (
            {"private": ["10.64.0.0/20", "10.64.16.0/20", "10.64.192.0/22"]},
            'public[0]: "10.64.192.0/20" overlaps 10.64.192.0/22 of private[2]',
        ),
        (
            {"public": ["10.64.192.0/28", "10.64.193.0/27", "10.64.194.0/27"]},
            'public[0]: "10.64.192.0/28" is too small: a public subnet is a /27',
        ),
        (
            {"service_cidr": "10.64.0.0/16"},
            'service_cidr: "10.64.0.0/16" overlaps 10.64.0.0/16 of cidr',
        ),
        (
            {"service_cidr": "172.20.0.0/25"},
            f'service_cidr: "172.20.0.0/25" {NO_SERVICES}',
        ),
        # Private by other rules, and refused by EKS.
        ({"service_cidr": "100.64.0.0/16"}, f'service_cidr: "100.64.0.0/16" {NO_SERVICES}'),
        ({"service_cidr": "198.18.0.0/16"}, f'service_cidr: "198.18.0.0/16" {NO_SERVICES}'),
        *(
            ({"cidr": cidr}, f'cidr: "{cidr}" is no private network, such as 10.64.0.0/16')
            for cidr in (
                "0.0.0.0/16",
                "127.0.0.0/16",
                "169.254.0.0/16",
                "224.0.0.0/16",
                "240.0.0.0/16",
            )
        ),
        (
            {"peers": ["10.0.0.0/16", "10.64.128.0/24"]},
            'peers[1]: "10.64.128.0/24" overlaps 10.64.0.0/16 of cidr',
        ),
        (
            {"peers": ["172.16.0.0/12"]},
            'peers[0]: "172.16.0.0/12" overlaps 172.20.0.0/16 of service_cidr',
        ),
        ({"nat": "none"}, 'nat: "none" is not one of one or zone'),
        (
            {"endpoints": ["s3"]},
            'endpoints[0]: "s3" is not one of autoscaling, ec2, ecr, eks, eks-auth, '
            "elasticloadbalancing, kms, logs, secretsmanager or sts",
        ),
        (
            {"flow_log_days": 10},
            "flow_log_days: 10 is not a number of days that CloudWatch keeps logs for: 1, 3, 5, 7, "
            "14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192",
        ),
    ],
)
def test_a_fault_of_the_network(keys: dict[str, Any], line: str) -> None:
    assert of_network(**keys) == [f"aws:network.{line}"]


def test_a_region_whose_zones_differ_by_account() -> None:
    assert said(region="us-west-1") == [
        "aws:network.zones: is not set; an account has two zones of us-west-1, and only you know "
        "which"
    ]
    own = Aws.model_validate(
        {**BASE, "region": "us-west-1", "network": {"zones": ["us-west-1a", "us-west-1c"]}}
    )
    assert len(own.network.subnets.private) == 2


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"admins": []},
            "admins: [] names nobody: not even this program could enter the cluster",
        ),
        (
            {"admins": ["arn:aws:sts::123456789012:assumed-role/deployer/me"]},
            'admins[0]: "arn:aws:sts::123456789012:assumed-role/deployer/me" is not the ARN of a '
            "role or user of IAM, as in arn:aws:iam::123456789012:role/name",
        ),
        (
            {"viewers": [SSO.replace("aws-reserved/sso.amazonaws.com/eu-west-1/", "")]},
            'viewers[0]: "arn:aws:iam::123456789012:role/AWSReservedSSO_Admins_0123456789abcdef" '
            "is a role of IAM Identity Center without its path, and EKS knows it by the whole: "
            "role/aws-reserved/sso.amazonaws.com/<region>/AWSReservedSSO_…",
        ),
        (
            {"admins": ["arn:aws:iam::999999999999:role/deployer"]},
            'admins: ["arn:aws:iam::999999999999:role/deployer"] names nobody of account '
            "123456789012, where this program's role is",
        ),
        ({"admins": [DEPLOYER, DEPLOYER]}, f'admins[1]: "{DEPLOYER}" stands there twice'),
        (
            {"viewers": [GUEST, DEPLOYER]},
            f'viewers[1]: "{DEPLOYER}" is one of admins, too; keep one of the two',
        ),
        (
            {"allow_from": ["0.0.0.0/0"]},
            'allow_from[0]: "0.0.0.0/0" is all the world; name the networks you use',
        ),
        (
            {"allow_from": ["::/0"]},
            'allow_from[0]: "::/0" is all the world; name the networks you use',
        ),
        (
            {"allow_from": ["203.0.113.0/24", "2001:db8::/32"]},
            'allow_from[1]: "2001:db8::/32" is not a network of IPv4',
        ),
        (
            {"allow_from": ["203.0.113.0/24", "192.168.0.0/24"]},
            'allow_from[1]: "192.168.0.0/24" is a private network, and a public endpoint sees '
            "public addresses; name the one that it goes out by, or reach the private endpoint",
        ),
        *(
            ({"allow_from": [cidr]}, f'allow_from[0]: "{cidr}" is a network that nobody comes from')
            for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4")
        ),
        (
            {"allow_from": ["203.0.113.0/24", "203.0.113.0/24"]},
            'allow_from[1]: "203.0.113.0/24" stands there twice',
        ),
        (
            {"version": "1.3"},
            "version: \"1.3\" is not a version of Kubernetes as text, as in '1.34'",
        ),
        (
            {"version": "1.40", "add_ons": {"coredns": "v1.20.0-eksbuild.1"}},
            'add_ons: {"coredns": "v1.20.0-eksbuild.1"} lacks aws-ebs-csi-driver, '
            "eks-pod-identity-agent, kube-proxy, metrics-server, vpc-cni; versions are known here "
            "for 1.34 and 1.35 alone, and for 1.40 you name them all",
        ),
        (
            {"add_ons": {"coredns": "1.13.2"}},
            'add_ons.coredns: "1.13.2" is not an add-on\'s version: v1.2.3-eksbuild.4',
        ),
        ({"logs": []}, "logs: [] is empty; keep api, audit and authenticator at least"),
        ({"support": "never"}, 'support: "never" is not one of standard or extended'),
    ],
)
def test_a_fault_of_the_cluster(keys: dict[str, Any], line: str) -> None:
    assert of_cluster(**keys) == [f"aws:cluster.{line}"]


def test_who_may_enter() -> None:
    """Roles of IAM Identity Center by their paths, and those of other accounts beside one's own:
    https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
    """
    other = "arn:aws:iam::999999999999:role/auditor"
    found = Aws.model_validate({**BASE, "cluster": {"admins": [other, SSO], "viewers": [GUEST]}})
    assert found.cluster.admins == [other, SSO]


def test_an_unknown_add_on() -> None:
    (line,) = of_cluster(add_ons={"core-dns": "v1.13.2-eksbuild.1"})
    assert line.startswith('aws:cluster.add_ons.core-dns: "core-dns" is not one of aws-ebs-csi-')


@pytest.mark.parametrize(
    "key",
    [
        "aws:created-by",
        "AWS:created-by",
        "slipway:stack",
        "eks:cluster-name",
        "kubernetes.io/cluster/slipway-prod",
        "karpenter.sh/discovery",
        "karpenter.k8s.aws/cluster",
    ],
)
def test_a_tag_that_others_set(key: str) -> None:
    assert said(tags={key: "x"}) == [
        f'aws:tags.{key}: "{key}" is a tag\'s key that AWS, Kubernetes, Karpenter or Slipway set '
        "themselves; take another"
    ]


def test_a_tag_of_ones_own() -> None:
    tags = {"owner": "risk", "acme.example/slipway": "1", "awsome": "2"}
    assert Aws.model_validate({**BASE, "tags": tags}).tags == tags
    assert said(tags={"a" * 129: "x"})[0].endswith("is not a tag's key: at most 128 characters")


@pytest.mark.parametrize(
    ("here", "there"), [("eu-central-1", "cn-north-1"), ("us-gov-west-1", "us-west-2")]
)
def test_a_replica_is_in_the_same_partition(here: str, there: str) -> None:
    assert said(region=here, bucket={"replica": {"region": there}}) == [
        f'aws:bucket.replica.region: "{there}" is of another partition of AWS than {here}, and S3 '
        "copies to none"
    ]


def test_nodes_with_gpus_are_of_the_clusters_version() -> None:
    gpu = {"instance_types": ["g6.xlarge"], "release": "1.34.4-20260512"}
    assert said(gpu=gpu) == [
        'aws:gpu.release: "1.34.4-20260512" is of another version of Kubernetes than '
        "cluster.version, 1.35"
    ]
    older = {"admins": [DEPLOYER], "version": "1.34"}
    found = Aws.model_validate({**BASE, "gpu": gpu, "cluster": older}).gpu
    assert found is not None and found.release == gpu["release"]


HUB = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ecr-pullthroughcache/hub-AbCdEf"


@pytest.mark.parametrize(
    ("arn", "line"),
    [
        (
            HUB.replace("eu-central-1", "eu-west-1"),
            "is in region eu-west-1, and the stack is in eu-central-1",
        ),
        (
            HUB.replace("123456789012", "999999999999"),
            "is of account 999999999999, and the stack is of 123456789012",
        ),
    ],
)
def test_ecr_reads_a_login_beside_it_alone(arn: str, line: str) -> None:
    assert said(registry={"docker_hub_credentials": arn}) == [
        f'aws:registry.docker_hub_credentials: "{arn[:76]}... {line}; ECR reads a login of its own '
        "region and account alone"
    ]
    aws = Aws.model_validate({**BASE, "registry": {"docker_hub_credentials": HUB}})
    assert aws.registry.docker_hub_credentials == HUB


def test_each_known_version_has_all_add_ons() -> None:
    for version, known in ADD_ONS.items():
        assert set(known) == set(AddOn.__args__)  # type: ignore[attr-defined]
        assert known["kube-proxy"].startswith(f"v{version}.")
        assert EksCluster(version=version, admins=[DEPLOYER]).add_on_versions == known


def test_one_add_on_may_have_another_version() -> None:
    other = {"coredns": "v1.13.3-eksbuild.1"}
    cluster = EksCluster(admins=[DEPLOYER], add_ons=other)  # type: ignore[arg-type]
    assert cluster.add_on_versions == {**ADD_ONS["1.35"], **other}


def test_a_version_that_is_not_known_takes_all_add_ons() -> None:
    every = dict.fromkeys(AddOn.__args__, "v1.2.3-eksbuild.4")  # type: ignore[attr-defined]
    assert EksCluster(admins=[DEPLOYER], version="1.40", add_ons=every).add_on_versions == every


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"instance_types": []},
            "instance_types: [] is empty; name one at least, as in m7i.xlarge",
        ),
        (
            {"instance_types": ["m7i.xlarge", "big"]},
            'instance_types[1]: "big" is not an instance type of EC2, as in m7i.xlarge',
        ),
        (
            {"instance_types": ["m7i.xlarge", "m7g.xlarge"]},
            'instance_types[1]: "m7g.xlarge" has a processor for arm64, and the images are for '
            "amd64",
        ),
        (
            {"instance_types": ["g5.xlarge"]},
            'instance_types[0]: "g5.xlarge" has accelerators, which nothing here may use; gpu is '
            "for those",
        ),
        (
            {"instance_types": ["m4.large"]},
            'instance_types[0]: "m4.large" is not built on Nitro, so its nodes have too few '
            "addresses",
        ),
        (
            {"instance_types": ["t3.small"]},
            'instance_types[0]: "t3.small" is too small for a node; take a medium or larger one',
        ),
        ({"min": 7}, "min: 7 is more than max, 6"),
        ({"size": 7}, "size: 7 is not from min to max, 3 to 6"),
        ({"min": 0, "max": 0}, "max: 0 leaves no node; what has no GPU runs on these"),
        (
            {"min": 0},
            "min: 0 leaves too few nodes for what a cluster has itself; begin with 2 or more",
        ),
        (
            {"min": 0, "size": 1},
            "size: 1 leaves too few nodes for what a cluster has itself; begin with 2 or more",
        ),
        ({"min": True}, "min: true is not a whole number of nodes from 0 to 450"),
        ({"disk": 8}, "disk: 8 is not a whole number of GiB from 20 to 16384"),
        ({"capacity": "reserved"}, 'capacity: "reserved" is not one of on-demand or spot'),
    ],
)
def test_a_fault_of_the_nodes(keys: dict[str, Any], line: str) -> None:
    assert of_nodes(**keys) == [f"aws:nodes.{line}"]


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("m7i.xlarge", False),
        ("m7i-flex.large", False),
        ("c7gn.2xlarge", True),
        ("r8gd.metal-24xl", True),
        ("im4gn.large", True),
        ("a1.large", True),
        ("g5.xlarge", False),
        ("g5g.xlarge", True),
        ("p6-b200.48xlarge", False),
        ("p6e-gb200.36xlarge", True),
        ("mac1.metal", False),
        ("mac2.metal", True),
        ("u7i-12tb.224xlarge", False),
    ],
)
def test_the_processor_stands_in_the_name(name: str, arm: bool) -> None:
    found = instances.read(name)
    assert found is not None and found.arm is arm
