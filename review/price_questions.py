"""How AWS' Price List is asked for each key of a file of prices. Pure.

The names of services, attributes and usage types are AWS' own. A usage type begins with a mark of
the region, as in `EUC1-NatGateway-Hours`, which us-east-1 mostly leaves out: only its end counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

_THOUSAND: Final = Decimal(1000)


@dataclass(frozen=True)
class Question:
    """What is asked for one key.

    service: its code. usage: how the usage type ends, a regular expression. per: the unit of the
    file. units: how many of AWS' units that is. filters: attribute -> value. regional: False where
    a price is the same everywhere, and its products name no region.
    """

    service: str
    usage: str
    per: str
    filters: Mapping[str, str] = field(default_factory=dict)
    units: Decimal = Decimal(1)
    regional: bool = True
    region_field: str = "regionCode"

    @classmethod
    def instance(cls, kind: str) -> Question:
        """An hour of an EC2 instance, on Linux, shared, with nothing installed."""
        filters = {
            "instanceType": kind,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        return cls("AmazonEC2", rf"BoxUsage:{re.escape(kind)}", "hour", filters)

    @classmethod
    def database(cls, kind: str, mode: str) -> Question:
        """An hour of a PostgreSQL of this class; mode: `single` or `multi` zones."""
        filters = {
            "instanceType": kind,
            "databaseEngine": "PostgreSQL",
            "deploymentOption": "Multi-AZ" if mode == "multi" else "Single-AZ",
        }
        usage = "Multi-AZUsage" if mode == "multi" else "InstanceUsage"
        # The class is written shorter there: `xl` for `xlarge`.
        return cls("AmazonRDS", rf"{usage}:db\.[a-z0-9.]+", "hour", filters)


def _rds_storage(mode: str, usage: str) -> Question:
    option = "Multi-AZ" if mode == "multi" else "Single-AZ"
    filters = {"databaseEngine": "PostgreSQL", "deploymentOption": option}
    return Question("AmazonRDS", usage, "GB-month", filters)


_NLB: Final = {"productFamily": "Load Balancer-Network"}
_ALB: Final = {"productFamily": "Load Balancer-Application"}
_OUT: Final = {"transferType": "AWS Outbound"}
_ZONES: Final = {"transferType": "IntraRegion"}
_STANDARD: Final = {"queueType": "Standard"}
_GP3: Final = {"volumeApiName": "gp3"}
_MANY: Final = "ten thousand requests"

QUESTIONS: Final[Mapping[str, Question]] = {
    "eks.cluster": Question("AmazonEKS", "AmazonEKS-Hours:perCluster", "hour"),
    "eks.extended": Question("AmazonEKS", "AmazonEKS-Hours:extendedSupport", "hour"),
    "ebs.gp3": Question("AmazonEC2", r"EBS:VolumeUsage\.gp3", "GB-month", _GP3),
    "nat.hour": Question("AmazonEC2", "NatGateway-Hours", "hour", {"productFamily": "NAT Gateway"}),
    "nat.data": Question("AmazonEC2", "NatGateway-Bytes", "GB", {"productFamily": "NAT Gateway"}),
    "endpoint.hour": Question("AmazonVPC", "VpcEndpoint-Hours", "hour"),
    "endpoint.data": Question("AmazonVPC", "VpcEndpoint-Bytes", "GB"),
    "ipv4.hour": Question("AmazonVPC", "PublicIPv4:InUseAddress", "hour"),
    "nlb.hour": Question("AWSELB", "LoadBalancerUsage", "hour", _NLB),
    "nlb.lcu": Question("AWSELB", "LCUUsage", "LCU-hour", _NLB),
    "alb.hour": Question("AWSELB", "LoadBalancerUsage", "hour", _ALB),
    "alb.lcu": Question("AWSELB", "LCUUsage", "LCU-hour", _ALB),
    "rds.gp3.single": _rds_storage("single", "RDS:GP3-Storage"),
    "rds.gp3.multi": _rds_storage("multi", "RDS:Multi-AZ-GP3-Storage"),
    "rds.backup": Question(
        "AmazonRDS", "RDS:ChargedBackupUsage", "GB-month", {"databaseEngine": "PostgreSQL"}
    ),
    "s3.storage": Question("AmazonS3", "TimedStorage-ByteHrs", "GB-month"),
    "s3.put": Question("AmazonS3", "Requests-Tier1", "thousand requests", {}, _THOUSAND),
    "s3.get": Question("AmazonS3", "Requests-Tier2", "thousand requests", {}, _THOUSAND),
    "kms.key": Question("awskms", "KMS-Keys", "month"),
    "kms.requests": Question("awskms", "KMS-Requests", _MANY, {}, 10 * _THOUSAND),
    "secret.month": Question("AWSSecretsManager", "AWSSecretsManager-Secrets", "month"),
    "secret.requests": Question(
        "AWSSecretsManager", "AWSSecretsManagerAPIRequest", _MANY, {}, 10 * _THOUSAND
    ),
    "route53.zone": Question("AmazonRoute53", "HostedZone", "month", regional=False),
    "waf.acl": Question("awswaf", r"(?<!ShieldProtected-)WebACLV2", "month"),
    "waf.rule": Question("awswaf", r"(?<!ShieldProtected-)RuleV2", "month"),
    "waf.requests": Question(
        "awswaf", r"(?<!ShieldProtected-)RequestV2-Tier1", "million requests", {}, _THOUSAND**2
    ),
    "ecr.storage": Question("AmazonECR", "TimedStorage-ByteHrs", "GB-month"),
    "logs.data": Question("AmazonCloudWatch", "(?<!-IA-)DataProcessing-Bytes", "GB"),
    "logs.storage": Question("AmazonCloudWatch", "TimedStorage-ByteHrs", "GB-month"),
    "logs.to-s3": Question("AmazonCloudWatch", "S3-Egress-Bytes", "GB"),
    "transfer.out": Question(
        "AWSDataTransfer", "DataTransfer-Out-Bytes", "GB", _OUT, region_field="fromRegionCode"
    ),
    "transfer.zones": Question(
        "AWSDataTransfer",
        "DataTransfer-Regional-Bytes",
        "GB",
        _ZONES,
        region_field="fromRegionCode",
    ),
    "sqs.requests": Question(
        "AWSQueueService", "Requests-Tier1", "million requests", _STANDARD, _THOUSAND**2
    ),
}
