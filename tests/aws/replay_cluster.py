"""The calls of EKS: the cluster, its nodes, add-ons and who may enter."""

from __future__ import annotations

from typing import Any

from tests.aws.replay import Api, Entry, Made, Refused, Table, Wanted

TAGS: dict[str, str | None] = {"tagsAll": None}


def cluster(api: Api, one: Wanted) -> Made:
    logs = one.inputs.get("enabledClusterLogTypes")
    told = {
        "name": one.called,
        "version": one.inputs.get("version"),
        "roleArn": one.inputs["roleArn"],
        "resourcesVpcConfig": one.inputs["vpcConfig"],
        "kubernetesNetworkConfig": one.inputs.get("kubernetesNetworkConfig"),
        "encryptionConfig": one.inputs.get("encryptionConfig"),
        "logging": {"clusterLogging": [{"types": logs, "enabled": True}]} if logs else None,
    }
    rest = {
        key: item
        for key, item in one.inputs.items()
        if key not in {*told, "vpcConfig", "enabledClusterLogTypes", "tagsAll"}
    }
    made = api.call("eks", "CreateCluster", **told, **rest)["cluster"]
    group = _own_group(api, one.called, one.inputs["vpcConfig"]["subnetIds"])
    answer = {key: made.get(key) for key in ("arn", "endpoint")}
    return answer | {"id": made["name"], "vpcConfig": {"clusterSecurityGroupId": group}}


def _own_group(api: Api, name: str, subnets: list[str]) -> str | None:
    """The security group that EKS makes for a cluster, and moto doesn't."""
    try:
        found = api.call("ec2", "DescribeSubnets", SubnetIds=subnets)["Subnets"]
    except Refused:  # EKS would have refused the cluster; moto looks at no subnet
        raise Refused(f"CreateCluster: no subnets {', '.join(subnets)}") from None
    told = {"GroupName": f"eks-cluster-sg-{name}", "Description": "made by EKS"}
    group = api.call("ec2", "CreateSecurityGroup", VpcId=found[0]["VpcId"], **told)
    return str(group["GroupId"])


def node_group(api: Api, one: Wanted) -> Made:
    renames: dict[str, str | None] = {
        "nodeRoleArn": "nodeRole",
        "subnetIds": "subnets",
        "nodeGroupName": "nodegroupName",
        "nodeGroupNamePrefix": None,
        "forceUpdateVersion": None,
        **TAGS,
    }
    told = {
        name: item
        for key, item in one.inputs.items()
        if (name := renames.get(key, key)) is not None
    }
    told.setdefault("nodegroupName", str(one.outputs["nodeGroupName"]))
    template = one.inputs.get("launchTemplate")
    made = api.call("eks", "CreateNodegroup", **told)["nodegroup"]
    for group in (one.outputs.get("resources") or [{}])[0].get("autoscalingGroups", []):
        _scaled(api, group["name"], one.inputs, template)
    return {"arn": made["nodegroupArn"], "nodeGroupName": made["nodegroupName"]}


def _scaled(api: Api, name: str, inputs: dict[str, Any], template: dict[str, Any] | None) -> None:
    """The autoscaling group that EKS makes for its nodes, and moto doesn't."""
    told: dict[str, Any] = {"MinSize": 0, "MaxSize": inputs["scalingConfig"]["maxSize"]}
    told["VPCZoneIdentifier"] = ",".join(inputs["subnetIds"])
    if template:
        named = {"id": "LaunchTemplateId", "name": "LaunchTemplateName", "version": "Version"}
        told["LaunchTemplate"] = {named[key]: str(item) for key, item in template.items()}
        api.call("autoscaling", "CreateAutoScalingGroup", AutoScalingGroupName=name, **told)


TABLE: Table = {
    "eks/cluster:Cluster": cluster,
    "eks/nodeGroup:NodeGroup": node_group,
    "eks/addon:Addon": Entry(
        "eks",
        "CreateAddon",
        {
            "resolveConflictsOnCreate": "resolveConflicts",
            "resolveConflictsOnUpdate": None,
            "preserve": None,
            **TAGS,
        },
    ),
    "eks/podIdentityAssociation:PodIdentityAssociation": Entry(
        "eks", "CreatePodIdentityAssociation", TAGS
    ),
    "eks/accessEntry:AccessEntry": Entry("eks", "CreateAccessEntry", TAGS),
    "eks/accessPolicyAssociation:AccessPolicyAssociation": Entry("eks", "AssociateAccessPolicy"),
}
