"""EC2's calls: networks, their doors, and templates of nodes."""

from __future__ import annotations

from typing import Any

from tests.aws.replay import Api, Entry, Made, Table, Wanted

# Tags of EC2 are told apart from a resource, by kind; no check here looks at them.
TAGS: dict[str, str | None] = {"tags": None, "tagsAll": None}


def vpc(api: Api, one: Wanted) -> Made:
    made = api.call("ec2", "CreateVpc", CidrBlock=one.inputs.get("cidrBlock"))["Vpc"]["VpcId"]
    for key in ("enableDnsSupport", "enableDnsHostnames"):
        if key in one.inputs:
            attribute = {key: {"Value": one.inputs[key]}}
            api.call("ec2", "ModifyVpcAttribute", VpcId=made, **attribute)
    return {"id": made, "defaultSecurityGroupId": _default_group(api, made)}


def _default_group(api: Api, network: str) -> str:
    asked = [{"Name": "vpc-id", "Values": [network]}, {"Name": "group-name", "Values": ["default"]}]
    groups = api.call("ec2", "DescribeSecurityGroups", Filters=asked)["SecurityGroups"]
    return str(groups[0]["GroupId"])


def default_group(api: Api, one: Wanted) -> Made:
    return {"id": _default_group(api, one.inputs["vpcId"])}


def internet_gateway(api: Api, one: Wanted) -> Made:
    made = api.call("ec2", "CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    if one.inputs.get("vpcId"):
        told = {"InternetGatewayId": made, "VpcId": one.inputs["vpcId"]}
        api.call("ec2", "AttachInternetGateway", **told)
    return {"id": made}


def security_group(api: Api, one: Wanted) -> Made:
    told = {key: one.inputs.get(key) for key in ("description", "vpcId")}
    made = api.call("ec2", "CreateSecurityGroup", GroupName=one.called, **told)["GroupId"]
    for way in ("ingress", "egress"):
        for rule in one.inputs.get(way) or []:
            _authorize(api, way, made, rule)
    return {"id": made}


def _authorize(api: Api, way: str, group: str, rule: dict[str, Any]) -> str:
    text = rule.get("description")
    of: dict[str, Any] = {
        "IpProtocol": rule.get("ipProtocol") or rule.get("protocol"),
        "FromPort": rule.get("fromPort"),
        "ToPort": rule.get("toPort"),
    }
    ranges = [*rule.get("cidrBlocks", []), *filter(None, [rule.get("cidrIpv4")])]
    groups = [
        *rule.get("securityGroups", []),
        *filter(None, [rule.get("referencedSecurityGroupId")]),
    ]
    told = {"Description": text} if text else {}
    if ranges:
        of["IpRanges"] = [{"CidrIp": one, **told} for one in ranges]
    if rule.get("cidrIpv6"):
        of["Ipv6Ranges"] = [{"CidrIpv6": rule["cidrIpv6"], **told}]
    if rule.get("prefixListId"):
        of["PrefixListIds"] = [{"PrefixListId": rule["prefixListId"], **told}]
    if groups or rule.get("self"):
        of["UserIdGroupPairs"] = [{"GroupId": one, **told} for one in groups or [group]]
    asked = [{key: value for key, value in of.items() if value is not None}]
    operation = f"AuthorizeSecurityGroup{way.capitalize()}"
    answer = api.call("ec2", operation, GroupId=group, IpPermissions=asked)
    return str((answer.get("SecurityGroupRules") or [{}])[0].get("SecurityGroupRuleId"))


def rule(api: Api, one: Wanted) -> Made:
    way = "ingress" if "Ingress" in one.type else "egress"
    return {"id": _authorize(api, way, one.inputs["securityGroupId"], one.inputs)}


def flow_log(api: Api, one: Wanted) -> Made:
    kinds = {"vpcId": "VPC", "subnetId": "Subnet", "eniId": "NetworkInterface"}
    (of,) = [key for key in kinds if one.inputs.get(key)]
    renames = {"iamRoleArn": "DeliverLogsPermissionArn", of: "ResourceIds", **TAGS}
    extra = {"ResourceType": kinds[of]}
    returns = {"id": "FlowLogIds[0]"}
    return api.create(Entry("ec2", "CreateFlowLogs", renames, returns, extra), one)


def launch_template(api: Api, one: Wanted) -> Made:
    # All but these is the template's data.
    apart = {"name", "namePrefix", "description", "tags", "tagsAll", "updateDefaultVersion"}
    data = {key: value for key, value in one.inputs.items() if key not in apart}
    if "vpcSecurityGroupIds" in data:
        data["securityGroupIds"] = data.pop("vpcSecurityGroupIds")
    told = {"LaunchTemplateName": one.called, "LaunchTemplateData": data}
    made = api.call("ec2", "CreateLaunchTemplate", **told)["LaunchTemplate"]
    return {"id": made["LaunchTemplateId"]}


TABLE: Table = {
    "ec2/vpc:Vpc": vpc,
    "ec2/defaultSecurityGroup:DefaultSecurityGroup": default_group,
    "ec2/subnet:Subnet": Entry(
        "ec2",
        "CreateSubnet",
        # Set after it is made, by a call that takes nothing to check.
        TAGS | {"mapPublicIpOnLaunch": None},
        {"id": "Subnet.SubnetId", "arn": "Subnet.SubnetArn"},
    ),
    "ec2/internetGateway:InternetGateway": internet_gateway,
    "ec2/eip:Eip": Entry(
        "ec2",
        "AllocateAddress",
        TAGS,
        {"id": "AllocationId", "allocationId": "AllocationId", "publicIp": "PublicIp"},
    ),
    "ec2/natGateway:NatGateway": Entry(
        "ec2", "CreateNatGateway", TAGS, {"id": "NatGateway.NatGatewayId"}
    ),
    "ec2/routeTable:RouteTable": Entry(
        "ec2", "CreateRouteTable", TAGS, {"id": "RouteTable.RouteTableId"}
    ),
    "ec2/route:Route": Entry("ec2", "CreateRoute"),
    "ec2/routeTableAssociation:RouteTableAssociation": Entry(
        "ec2", "AssociateRouteTable", {}, {"id": "AssociationId"}
    ),
    "ec2/securityGroup:SecurityGroup": security_group,
    "vpc/securityGroupIngressRule:SecurityGroupIngressRule": rule,
    "vpc/securityGroupEgressRule:SecurityGroupEgressRule": rule,
    "ec2/vpcEndpoint:VpcEndpoint": Entry(
        "ec2",
        "CreateVpcEndpoint",
        {"policy": "PolicyDocument", **TAGS},
        {"id": "VpcEndpoint.VpcEndpointId"},
    ),
    "ec2/flowLog:FlowLog": flow_log,
    "ec2/launchTemplate:LaunchTemplate": launch_template,
}
