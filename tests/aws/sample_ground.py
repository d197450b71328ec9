"""A small program on AWS, of real resources: a network, a cluster, a database, a balancer."""

from __future__ import annotations

import json
from typing import Any

from pulumi_aws.acm.certificate import Certificate
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.launch_template import LaunchTemplate
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.eks.cluster import Cluster
from pulumi_aws.eks.node_group import NodeGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.kms.key import Key
from pulumi_aws.lb.listener import Listener
from pulumi_aws.lb.load_balancer import LoadBalancer
from pulumi_aws.lb.target_group import TargetGroup
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.subnet_group import SubnetGroup
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_versioning import BucketVersioning
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.aws import documents
from tests.aws_mocks import ACCOUNT


def ground(
    subnet: str = "10.0.1.0/24",
    service: str = "eks.amazonaws.com",
    size: str = "m7i.large",
    versioning: str = "Enabled",
    days: int = 30,
    effect: str = "Allow",
    domain: str = "models.example.com",
) -> None:
    """Every argument has a value that AWS takes."""
    vpc = Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=True)
    gateway = InternetGateway("way-out", vpc_id=vpc.id)
    subnets = [
        Subnet(
            f"net-{zone}", vpc_id=vpc.id, cidr_block=cidr, availability_zone=f"eu-central-1{zone}"
        )
        for zone, cidr in (("a", "10.0.0.0/24"), ("b", subnet))
    ]
    table = RouteTable("table", vpc_id=vpc.id)
    Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
    RouteTableAssociation("on-a", subnet_id=subnets[0].id, route_table_id=table.id)
    address = Eip("address", domain="vpc")
    NatGateway("nat", allocation_id=address.allocation_id, subnet_id=subnets[0].id)
    group = SecurityGroup("group", vpc_id=vpc.id, description="HTTPS")
    SecurityGroupIngressRule(
        "https",
        security_group_id=group.id,
        cidr_ipv4="0.0.0.0/0",
        ip_protocol="tcp",
        from_port=443,
        to_port=443,
    )
    LogGroup("log", name="/slipway/test", retention_in_days=days)
    role = Role("role", assume_role_policy=documents.text([documents.trust_service(service)]))
    statement = documents.allow("Read", ["s3:GetObject"], ["arn:aws:s3:::b/*"])
    RolePolicy("rights", role=role.name, policy=documents.text([statement | {"Effect": effect}]))
    ids = [each.id for each in subnets]
    cluster = Cluster("cluster", name="slipway", role_arn=role.arn, vpc_config={"subnet_ids": ids})
    template = LaunchTemplate(
        "template",
        metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
        block_device_mappings=[
            {"device_name": "/dev/xvda", "ebs": {"encrypted": "true", "volume_size": 50}}
        ],
        instance_type=size,
    )
    NodeGroup(
        "nodes",
        cluster_name=cluster.name,
        node_role_arn=role.arn,
        subnet_ids=ids,
        scaling_config={"desired_size": 1, "max_size": 2, "min_size": 1},
        launch_template={"id": template.id, "version": "1"},
    )
    root = documents.allow("Root", ["kms:*"], ["*"])
    root["Principal"] = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    key = Key("key", policy=json.dumps({"Version": "2012-10-17", "Statement": [root]}))
    bucket = Bucket("bucket", bucket="slipway-test")
    told: Any = {"status": versioning}
    BucketVersioning("versioning", bucket=bucket.id, versioning_configuration=told)
    Instance(
        "database",
        identifier="slipway-test",
        engine="postgres",
        instance_class="db.t4g.medium",
        allocated_storage=20,
        username="mlflow",
        manage_master_user_password=True,
        storage_encrypted=True,
        kms_key_id=key.arn,
        db_subnet_group_name=SubnetGroup("subnets", subnet_ids=ids).name,
        vpc_security_group_ids=[group.id],
    )
    certificate = Certificate("certificate", domain_name=domain, validation_method="DNS")
    balancer = LoadBalancer("edge", load_balancer_type="network", subnets=ids)
    target = TargetGroup("pods", port=30443, protocol="TLS", vpc_id=vpc.id, target_type="instance")
    Listener(
        "https-in",
        load_balancer_arn=balancer.arn,
        port=443,
        protocol="TLS",
        certificate_arn=certificate.arn,
        default_actions=[{"type": "forward", "target_group_arn": target.arn}],
    )
