"""The ground on AWS against recording mocks: what is made, from what, and what waits for what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from pulumi_aws import Provider
from pulumi_kubernetes import Provider as Kubernetes

from components.aws.eks_cluster import kubeconfig
from components.aws.endpoints import s3_statements
from components.aws.foundation import Foundation, FoundationArgs
from components.aws.storage_class import StorageClass, StorageClassArgs
from settings.aws import Aws
from settings.aws.cluster import ADD_ONS
from tests.conftest import Program, Recorded, run
from tests.policy import stacks

ACCOUNT, REGION = "123456789012", "eu-central-1"
DEPLOYER = f"arn:aws:iam::{ACCOUNT}:role/deployer"
GUEST = f"arn:aws:iam::{ACCOUNT}:role/guest"
TAGS = {"owner": "risk", "cost-center": "4711"}
MANAGED = "arn:aws:iam::aws:policy"
CUSTOM = "ground-eks-cluster"


def ground(stack: str = "prod", **aws: Any) -> Program:
    """The foundation of a stack with these keys of aws, and the disks of its cluster."""
    configured = {
        "account": ACCOUNT,
        "region": REGION,
        "entrance": {"domain": "models.example.com", "zone": "Z0123456789ABC"},
        "tags": TAGS,
        "cluster": {"admins": [DEPLOYER]},
    }
    settings = Aws.model_validate({**configured, **aws})

    def program() -> None:
        cloud = Provider("aws", region=REGION, default_tags={"tags": settings.tags})
        made = Foundation(
            "ground", FoundationArgs(settings, stack), pulumi.ResourceOptions(providers=[cloud])
        )
        inside = Kubernetes("cluster", kubeconfig=made.kubeconfig)
        StorageClass("disks", StorageClassArgs(), pulumi.ResourceOptions(providers=[inside]))
        pulumi.export("kubeconfig", made.kubeconfig)
        pulumi.export("group", made.nodes.autoscaling_group)
        pulumi.export("role", [made.nodes.role_arn, made.nodes.role_name])
        pulumi.export("security_group", made.cluster.security_group_id)
        pulumi.export("vpc", made.network.vpc_id)
        pulumi.export("private", made.network.private_subnet_ids)
        pulumi.export("public", made.network.public_subnet_ids)
        pulumi.export("plain", [made.cluster.name, made.cluster.version, *made.network.zones])

    return run(program)


@pytest.fixture(scope="module")
def prod() -> Program:
    return ground()


def waits(program: Program) -> Mapping[str, frozenset[str]]:
    """Each resource -> all that must be there before it, and leaves after it."""
    direct = {
        each.name: {*each.depends_on, *([each.provider] if each.provider else [])}
        for each in program.custom()
    }

    def closure(name: str, seen: frozenset[str]) -> frozenset[str]:
        for needed in direct.get(name, set()) - seen:
            seen = closure(needed, seen | {needed})
        return seen

    found = {name: closure(name, frozenset()) for name in direct}
    assert not [name for name, needed in found.items() if name in needed]
    return found


def changed(before: Program, after: Program) -> dict[str, set[str]]:
    """Resource -> inputs that differ; a resource that came or went differs in `it`."""
    found: dict[str, set[str]] = {}
    for key in before.resources.keys() | after.resources.keys():
        old, new = before.resources.get(key), after.resources.get(key)
        if old is None or new is None:
            found[key[1]] = {"it"}
        elif old.inputs != new.inputs:
            found[key[1]] = {
                name
                for name in old.inputs.keys() | new.inputs.keys()
                if old.inputs.get(name) != new.inputs.get(name)
            }
    return found


def document(resource: Recorded, key: str = "policy") -> list[dict[str, Any]]:
    found = json.loads(resource.inputs[key])
    assert found["Version"] == "2012-10-17"
    return list(found["Statement"])


def test_the_network(prod: Program) -> None:
    vpc = prod.one("Vpc", "ground-network-vpc").inputs
    assert vpc["cidrBlock"] == "10.64.0.0/16"
    assert vpc["enableDnsHostnames"] and vpc["enableDnsSupport"]
    assert vpc["tags"] == {"Name": "slipway-prod"}
    group = prod.one("DefaultSecurityGroup", "ground-network-default-group").inputs
    assert (group["ingress"], group["egress"]) == ([], [])
    assert len(prod.of("InternetGateway")) == 1


def test_subnets_are_found_by_load_balancers_and_karpenter(prod: Program) -> None:
    assert len(prod.of("Subnet")) == 6
    for number, letter in enumerate("abc"):
        public = prod.one("Subnet", f"ground-network-public-{letter}").inputs
        private = prod.one("Subnet", f"ground-network-private-{letter}").inputs
        assert public["availabilityZone"] == private["availabilityZone"] == f"{REGION}{letter}"
        assert private["cidrBlock"] == f"10.64.{64 * number}.0/18"
        assert public["cidrBlock"] == f"10.64.{192 + 16 * number}.0/20"
        assert public["mapPublicIpOnLaunch"] is private["mapPublicIpOnLaunch"] is False
        assert public["tags"] == {
            "Name": f"slipway-prod-public-{REGION}{letter}",
            "kubernetes.io/role/elb": "1",
        }
        assert private["tags"] == {
            "Name": f"slipway-prod-private-{REGION}{letter}",
            "kubernetes.io/role/internal-elb": "1",
            "karpenter.sh/discovery": "slipway-prod",
        }


def test_the_ways_out(prod: Program) -> None:
    public = prod.one("Route", "ground-network-public-route").inputs
    assert public["gatewayId"] == "ground-network-gateway-id"
    for letter in "abc":
        own = prod.one("Route", f"ground-network-private-{letter}-route").inputs
        assert own["natGatewayId"] == "ground-network-nat-a-id"
        assert own["destinationCidrBlock"] == "0.0.0.0/0"
        for kind, table in (("public", "public"), ("private", f"private-{letter}")):
            joined = prod.one(
                "RouteTableAssociation", f"ground-network-{kind}-{letter}-association"
            ).inputs
            assert joined["subnetId"] == f"ground-network-{kind}-{letter}-id"
            assert joined["routeTableId"] == f"ground-network-{table}-table-id"


def test_a_nat_gateway_in_each_zone_moves_routes_alone(prod: Program) -> None:
    zones = ground(network={"nat": "zone"})
    assert len(prod.of("NatGateway")) == len(prod.of("Eip")) == 1
    assert len(zones.of("NatGateway")) == len(zones.of("Eip")) == 3
    assert changed(prod, zones) == {
        **{
            f"ground-network-nat-{letter}{part}": {"it"}
            for letter in "bc"
            for part in ("", "-address")
        },
        **{f"ground-network-private-{letter}-route": {"natGatewayId"} for letter in "bc"},
    }


def test_two_zones_and_subnets_of_ones_own() -> None:
    own = {
        "zones": [f"{REGION}b", f"{REGION}c"],
        "private": ["10.64.0.0/22", "10.64.4.0/22"],
        "public": ["10.64.8.0/26", "10.64.8.64/26"],
    }
    made = ground(network=own)
    cidrs = {each.name: each.inputs["cidrBlock"] for each in made.of("Subnet")}
    assert cidrs == {
        "ground-network-private-b": "10.64.0.0/22",
        "ground-network-private-c": "10.64.4.0/22",
        "ground-network-public-b": "10.64.8.0/26",
        "ground-network-public-c": "10.64.8.64/26",
    }
    assert made.outputs["plain"][2:] == own["zones"]


def test_flow_logs_are_written_and_forgotten(prod: Program) -> None:
    log = prod.one("FlowLog", "ground-network-flow-logs-log").inputs
    group = prod.one("LogGroup", "ground-network-flow-logs-group")
    assert log["trafficType"] == "ALL" and group.inputs["retentionInDays"] == 30
    assert log["logDestination"].endswith(":log-group:ground-network-flow-logs-group-1a2b3c4")
    (write,) = document(prod.one("RolePolicy", "ground-network-flow-logs-policy"))
    assert write["Resource"] == [log["logDestination"], f"{log['logDestination']}:*"]
    (trust,) = document(prod.one("Role", "ground-network-flow-logs-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    week = ground(network={"flow_log_days": 7})
    assert changed(prod, week) == {"ground-network-flow-logs-group": {"retentionInDays"}}


def test_the_way_to_s3_leads_to_the_accounts_own_buckets(prod: Program) -> None:
    (gateway,) = prod.of("VpcEndpoint")
    assert gateway.inputs["vpcEndpointType"] == "Gateway"
    assert gateway.inputs["serviceName"] == f"com.amazonaws.{REGION}.s3"
    assert len(gateway.inputs["routeTableIds"]) == 3
    own, images = document(gateway)
    assert (own["Action"], own["Principal"]) == (["s3:*"], "*")
    assert own["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}
    assert images["Action"] == ["s3:GetObject"]
    assert f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/*" in images["Resource"]
    assert not any(one.startswith("arn:aws:s3:::*") for one in images["Resource"])
    there = s3_statements("cn-north-1", ACCOUNT)[1]["Resource"]
    assert all(one.startswith("arn:aws-cn:s3:::") for one in there)


def test_interface_endpoints_are_for_the_network_alone(prod: Program) -> None:
    made = ground(network={"endpoints": ["ecr", "sts", "logs"]})
    interfaces = [
        each.inputs for each in made.of("VpcEndpoint") if each.name != "ground-network-endpoints-s3"
    ]
    assert sorted(each["serviceName"] for each in interfaces) == [
        f"com.amazonaws.{REGION}.{service}" for service in ("ecr.api", "ecr.dkr", "logs", "sts")
    ]
    for each in interfaces:
        assert each["privateDnsEnabled"] and each["vpcEndpointType"] == "Interface"
        assert len(each["subnetIds"]) == 3
        assert each["securityGroupIds"] == ["ground-network-endpoints-group-id"]
    (rule,) = made.of("SecurityGroupIngressRule")
    assert rule.inputs["cidrIpv4"] == "10.64.0.0/16"
    assert (rule.inputs["fromPort"], rule.inputs["toPort"]) == (443, 443)
    assert all(keys == {"it"} for keys in changed(prod, made).values())


def test_the_cluster(prod: Program) -> None:
    made = prod.one("Cluster", CUSTOM)
    assert made.inputs["name"] == "slipway-prod" and made.inputs["version"] == "1.35"
    assert made.inputs["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    assert made.inputs["vpcConfig"] == {
        "subnetIds": [f"ground-network-private-{letter}-id" for letter in "ab"],
        "securityGroupIds": ["ground-eks-api-id"],
        "endpointPrivateAccess": True,
        "endpointPublicAccess": False,
    }
    assert made.inputs["bootstrapSelfManagedAddons"] is False
    assert made.inputs["deletionProtection"] is True
    assert made.inputs["upgradePolicy"] == {"supportType": "STANDARD"}
    assert made.inputs["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "172.20.0.0/16"
    assert made.inputs["enabledClusterLogTypes"] == ["api", "audit", "authenticator"]
    assert made.delete_before_replace and made.protect and not made.retained
    logs = prod.one("LogGroup", "ground-eks-logs").inputs
    assert logs["name"] == "/aws/eks/slipway-prod/cluster" and logs["retentionInDays"] == 90


def test_another_zone_leaves_the_cluster_where_it_is(prod: Program) -> None:
    """EKS refuses subnets of zones that the cluster was not made with."""
    two = ground(network={"zones": [f"{REGION}a", f"{REGION}b"]})
    found = changed(two, prod)
    assert CUSTOM not in found
    assert found["ground-nodes-group"] == {"subnetIds"}
    assert found["ground-network-private-c"] == {"it"}


def test_the_cluster_as_configured() -> None:
    keys = {
        "admins": [DEPLOYER],
        "allow_from": ["203.0.113.0/24", "198.51.100.7/32"],
        "version": "1.35",
        "support": "extended",
        "deletion_protection": False,
        "logs": ["scheduler", "api", "audit", "authenticator"],
    }
    made = ground(cluster=keys, network={"service_cidr": "10.100.0.0/16"})
    assert not made.one("Cluster", CUSTOM).protect
    cluster = made.one("Cluster", CUSTOM).inputs
    assert cluster["vpcConfig"]["endpointPublicAccess"] is True
    assert cluster["vpcConfig"]["endpointPrivateAccess"] is True
    assert cluster["vpcConfig"]["publicAccessCidrs"] == keys["allow_from"]
    assert cluster["version"] == made.one("NodeGroup", "ground-nodes-group").inputs["version"]
    assert cluster["upgradePolicy"] == {"supportType": "EXTENDED"}
    assert cluster["deletionProtection"] is False
    assert cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "10.100.0.0/16"
    assert cluster["enabledClusterLogTypes"] == ["api", "audit", "authenticator", "scheduler"]
    versions = {each.inputs["addonName"]: each.inputs["addonVersion"] for each in made.of("Addon")}
    assert versions == ADD_ONS["1.35"]


def test_secrets_have_a_key_of_the_stacks_own(prod: Program) -> None:
    key = prod.one("Key", "ground-eks-key")
    assert key.protect and key.retained and key.inputs["enableKeyRotation"] is True
    (owner,) = document(key)
    assert owner["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/ground-eks-key-id"
    encryption = prod.one("Cluster", CUSTOM).inputs["encryptionConfig"]
    assert encryption == {"resources": ["secrets"], "provider": {"keyArn": arn}}
    (used,) = document(prod.one("RolePolicy", "ground-eks-key-policy"))
    assert used["Resource"] == [arn]
    (trust,) = document(prod.one("Role", "ground-eks-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"] == {
        "aws:SourceArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/slipway-prod"
    }


def test_who_may_enter() -> None:
    made = ground(cluster={"admins": [DEPLOYER], "viewers": [GUEST]})
    entries = {each.inputs["principalArn"]: each.inputs["type"] for each in made.of("AccessEntry")}
    assert entries == {DEPLOYER: "STANDARD", GUEST: "STANDARD"}
    policies = {
        each.inputs["principalArn"]: each.inputs for each in made.of("AccessPolicyAssociation")
    }
    assert {who: it["policyArn"].rpartition("/")[2] for who, it in policies.items()} == {
        DEPLOYER: "AmazonEKSClusterAdminPolicy",
        GUEST: "AmazonEKSViewPolicy",
    }
    assert all(it["accessScope"] == {"type": "cluster"} for it in policies.values())


def test_peers_reach_the_private_endpoint_and_no_node(prod: Program) -> None:
    made = ground(network={"peers": ["10.1.0.0/16"]})
    (rule,) = made.of("SecurityGroupIngressRule")
    assert rule.inputs["cidrIpv4"] == "10.1.0.0/16"
    assert rule.inputs["securityGroupId"] == "ground-eks-api-id"
    # Nodes are in the group that EKS makes alone: no template names another.
    assert "vpcSecurityGroupIds" not in made.one("LaunchTemplate", "ground-nodes-template").inputs
    assert (rule.inputs["fromPort"], rule.inputs["toPort"]) == (443, 443)
    assert rule.name in waits(made)["cluster"]
    assert set(changed(prod, made)) == {rule.name}


def test_add_ons(prod: Program) -> None:
    made = {each.inputs["addonName"]: each.inputs for each in prod.of("Addon")}
    assert {name: it["addonVersion"] for name, it in made.items()} == ADD_ONS["1.35"]
    for it in made.values():
        assert it["resolveConflictsOnCreate"] == it["resolveConflictsOnUpdate"] == "OVERWRITE"
    cni = json.loads(made["vpc-cni"]["configurationValues"])
    assert cni["enableNetworkPolicy"] == "true"
    assert cni["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
    disks = json.loads(made["aws-ebs-csi-driver"]["configurationValues"])
    assert disks == {"controller": {"extraVolumeTags": TAGS}}
    assert "configurationValues" not in made["kube-proxy"]
    assert "serviceAccountRoleArn" not in made["vpc-cni"]


@pytest.mark.parametrize(
    ("add_on", "name", "account", "policy"),
    [
        ("vpc-cni", "of-nodes", "aws-node", "AmazonEKS_CNI_Policy"),
        (
            "aws-ebs-csi-driver",
            "on-nodes",
            "ebs-csi-controller-sa",
            "service-role/AmazonEBSCSIDriverPolicy",
        ),
    ],
)
def test_an_add_on_that_calls_aws_has_a_role_of_its_own(
    prod: Program, add_on: str, name: str, account: str, policy: str
) -> None:
    called = f"ground-{name}-{add_on}"
    made = prod.one("Addon", called)
    role = f"arn:aws:iam::{ACCOUNT}:role/{called}-role-1a2b3c4"
    assert made.inputs["podIdentityAssociations"] == [{"roleArn": role, "serviceAccount": account}]
    attached = prod.one("RolePolicyAttachment", f"{called}-policy")
    assert attached.inputs["policyArn"] == f"{MANAGED}/{policy}"
    (trust,) = document(prod.one("Role", f"{called}-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":cluster/slipway-prod")
    assert {f"{called}-policy", "ground-of-nodes-eks-pod-identity-agent"} <= set(made.depends_on)


def test_the_nodes(prod: Program) -> None:
    group = prod.one("NodeGroup", "ground-nodes-group")
    assert group.inputs["amiType"] == "AL2023_x86_64_STANDARD"
    assert group.inputs["capacityType"] == "ON_DEMAND"
    assert group.inputs["instanceTypes"] == ["m7i.xlarge", "m7a.xlarge", "m6i.xlarge"]
    assert group.inputs["labels"] == {"slipway.dev/node-pool": "cpu"}
    assert group.inputs["scalingConfig"] == {"minSize": 3, "maxSize": 6, "desiredSize": 3}
    assert group.inputs["subnetIds"] == [f"ground-network-private-{z}-id" for z in "abc"]
    assert group.inputs["launchTemplate"] == {"id": "ground-nodes-template-id", "version": "1"}
    assert group.inputs["updateConfig"] == {"maxUnavailablePercentage": 33}
    assert "taints" not in group.inputs and "remoteAccess" not in group.inputs
    assert group.ignore_changes == () and group.timeouts[0] == "60m"


def test_how_a_node_starts(prod: Program) -> None:
    template = prod.one("LaunchTemplate", "ground-nodes-template").inputs
    assert template["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    (disk,) = template["blockDeviceMappings"]
    assert disk["ebs"] == {
        "volumeType": "gp3",
        "volumeSize": 80,
        "encrypted": "true",
        "deleteOnTermination": "true",
    }
    assert {each["resourceType"]: each["tags"] for each in template["tagSpecifications"]} == {
        kind: {**TAGS, "Name": "slipway-prod-cpu"}
        for kind in ("instance", "volume", "network-interface")
    }
    # With an image or a key pair in it, the group would not choose the one that fits.
    assert not {"imageId", "instanceType", "keyName", "userData"} & set(template)


def test_what_a_node_may_do(prod: Program) -> None:
    attached = {
        each.inputs["policyArn"]
        for each in prod.of("RolePolicyAttachment")
        if each.inputs["role"] == "ground-nodes-role-role-1a2b3c4"
    }
    assert attached == {
        f"{MANAGED}/AmazonEKSWorkerNodePolicy",
        f"{MANAGED}/AmazonEC2ContainerRegistryPullOnly",
    }
    assert prod.outputs["role"] == [
        f"arn:aws:iam::{ACCOUNT}:role/ground-nodes-role-role-1a2b3c4",
        "ground-nodes-role-role-1a2b3c4",
    ]


def test_the_group_behind_the_nodes_is_tagged(prod: Program) -> None:
    tags = [each.inputs for each in prod.of("Tag")]
    assert {each["autoscalingGroupName"] for each in tags} == {prod.outputs["group"]}
    assert {each["tag"]["key"]: each["tag"]["value"] for each in tags} == TAGS
    assert not any(each["tag"]["propagateAtLaunch"] for each in tags)


def test_a_change_of_size_changes_the_group_alone(prod: Program) -> None:
    larger = ground(nodes={"size": 5})
    assert changed(prod, larger) == {"ground-nodes-group": {"scalingConfig"}}
    theirs = ground(nodes={"scaled_by_others": True})
    group = theirs.one("NodeGroup", "ground-nodes-group")
    assert group.ignore_changes == ("scalingConfig.desiredSize",)
    spot = ground(nodes={"capacity": "spot"}).one("NodeGroup", "ground-nodes-group")
    assert spot.inputs["capacityType"] == "SPOT"


def test_a_change_of_tags_replaces_nothing(prod: Program) -> None:
    other = ground(tags=TAGS | {"owner": "fraud"})
    assert changed(prod, other) == {
        "aws": {"defaultTags"},
        "ground-nodes-template": {"tagSpecifications"},
        "ground-nodes-tag-owner": {"tag"},
        "ground-on-nodes-aws-ebs-csi-driver": {"configurationValues"},
    }


def test_disks_of_pods_are_encrypted(prod: Program) -> None:
    disks = prod.one("StorageClass", "disks-class")
    assert disks.inputs["parameters"] == {"type": "gp3", "encrypted": "true"}
    assert disks.inputs["provisioner"] == "ebs.csi.aws.com"
    assert disks.inputs["metadata"]["annotations"] == {
        "storageclass.kubernetes.io/is-default-class": "true"
    }
    assert disks.provider == "cluster"


def test_what_stands_leaves_before_what_it_stands_on(prod: Program) -> None:
    needs = waits(prod)
    routes = {f"ground-network-private-{letter}-route" for letter in "abc"}
    assert {"ground-network-nat-a", "ground-eks-logs"} <= needs[CUSTOM]
    assert routes & needs[CUSTOM] == {f"ground-network-private-{z}-route" for z in "ab"}
    assert {"ground-eks-key-policy", "ground-eks-cluster-policy"} <= needs[CUSTOM]
    of_nodes = {f"ground-of-nodes-{name}" for name in ("vpc-cni", "kube-proxy")}
    of_nodes.add("ground-of-nodes-eks-pod-identity-agent")
    for name in of_nodes:
        assert CUSTOM in needs[name] and "ground-nodes-group" not in needs[name]
    assert of_nodes | routes | {CUSTOM} <= needs["ground-nodes-group"]
    on_nodes = {
        f"ground-on-nodes-{name}" for name in ("coredns", "aws-ebs-csi-driver", "metrics-server")
    }
    for name in on_nodes:
        assert {"ground-nodes-group", *of_nodes} <= needs[name]
    # All that is inside the cluster, by the provider that it comes from.
    entry = [each.name for each in prod.of("AccessPolicyAssociation")]
    assert {*on_nodes, *entry, "ground-nodes-group", CUSTOM} <= needs["disks-class"]


def test_what_others_build_on(prod: Program) -> None:
    told = prod.outputs
    assert told["group"] == "eks-slipway-prod-cpu-1a2b3c4"
    assert told["security_group"] == "ground-eks-cluster-cluster-group"
    assert told["vpc"] == "ground-network-vpc-id"
    for kind in ("private", "public"):
        assert told[kind] == [f"ground-network-{kind}-{letter}-id" for letter in "abc"]
    assert told["plain"] == ["slipway-prod", "1.35", *(f"{REGION}{letter}" for letter in "abc")]
    found = json.loads(told["kubeconfig"])
    assert found["clusters"][0]["cluster"]["server"].startswith("https://slipway-prod.")


def test_a_kubeconfig_holds_no_credentials() -> None:
    made = json.loads(kubeconfig("one", REGION, "https://one", "Y2E="))
    (user,) = made["users"]
    assert set(user["user"]) == {"exec"} and user["user"]["exec"]["command"] == "aws"
    assert "--cluster-name one" in " ".join(user["user"]["exec"]["args"])
    assert made["current-context"] == made["contexts"][0]["name"] == "one"


@pytest.mark.parametrize("stack", ["prod", "Staging_of-a-team-with-a-long-name" * 3])
def test_names_are_bounded(stack: str) -> None:
    made = ground(stack, network={"nat": "zone", "endpoints": ["ecr"]})
    assert len(made.one("Cluster", CUSTOM).inputs["name"]) <= 24
    group = made.one("NodeGroup", "ground-nodes-group").inputs["nodeGroupNamePrefix"]
    # The provider adds 26 characters, and EKS takes 63.
    assert len(group) <= 37
    for each in made.custom():
        if each.kind in ("Role", "LaunchTemplate", "SecurityGroup"):
            assert len(each.name) + 8 <= 64, each.name
        for key in ("Name", "name"):
            assert len((each.inputs.get("tags") or {}).get(key, "")) <= 128


def test_the_policies_pass(prod: Program) -> None:
    everything = ground(
        network={"nat": "zone", "endpoints": ["ecr", "sts"], "peers": ["10.1.0.0/16"]},
        cluster={
            "admins": [DEPLOYER],
            "viewers": [GUEST],
            "allow_from": ["203.0.113.0/24"],
            "deletion_protection": False,
        },
    )
    for made in (prod, everything):
        verdict = stacks.judge(stacks.of_program(made, "prod"), stacks.configuration("prod"))
        assert not verdict.violations and not verdict.undecided
