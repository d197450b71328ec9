"""What AWS would make up for a resource, for the recording mocks: ARNs, names, addresses.

Shapes are those of https://docs.aws.amazon.com/service-authorization/latest/reference/ and of the
provider's outputs. Keys are as the provider writes them, in camelCase.
"""

from __future__ import annotations

from typing import Any

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def outputs(type_: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What comes out of a resource beside what went in; `id` where it is no made-up one.

    type_: as in `aws:eks/cluster:Cluster`. name: the resource's own, in the program.
    """
    service, kind = type_.split(":")[1].split("/")[0], type_.rsplit(":", 1)[-1]
    called = inputs.get("name") or f"{name}-1a2b3c4"
    identity = f"{name}-id"
    told: dict[str, Any] = {"name": called, "region": REGION}

    def arn(resource: str, of: str = service, *, everywhere: bool = False) -> str:
        place = ":" if everywhere else f"{REGION}:{ACCOUNT}"
        if of == "iam":
            place = f":{ACCOUNT}"
        return f"arn:aws:{of}:{place}:{resource}"

    match type_.split(":", 1)[1]:
        case "ec2/vpc:Vpc":
            told |= {"defaultSecurityGroupId": f"{name}-default-group"}
            told |= {"mainRouteTableId": f"{name}-main-table"}
        case "ec2/eip:Eip":
            told |= {"allocationId": identity, "publicIp": "198.51.100.7"}
        case "ec2/launchTemplate:LaunchTemplate":
            told |= {"latestVersion": 1}
        case "ec2/vpcEndpoint:VpcEndpoint":
            told |= {"prefixListId": f"{name}-prefix-list"}
        case "eks/cluster:Cluster":
            told |= {
                "id": called,
                "arn": arn(f"cluster/{called}"),
                "endpoint": f"https://{called}.gr7.{REGION}.eks.amazonaws.com",
                "certificateAuthority": {"data": "Y2VydGlmaWNhdGU="},
                "identities": [
                    {"oidcs": [{"issuer": f"https://oidc.eks.{REGION}.amazonaws.com/id/1A2B"}]}
                ],
                "status": "ACTIVE",
                "vpcConfig": {
                    **(inputs.get("vpcConfig") or {}),
                    "clusterSecurityGroupId": f"{name}-cluster-group",
                    "vpcId": f"{name}-vpc",
                },
            }
        case "eks/nodeGroup:NodeGroup":
            prefix = inputs.get("nodeGroupNamePrefix")
            group = inputs.get("nodeGroupName") or (f"{prefix}1a2b3c4" if prefix else called)
            told |= {
                "nodeGroupName": group,
                "arn": arn(f"nodegroup/{inputs.get('clusterName')}/{group}/1a2b"),
                "resources": [{"autoscalingGroups": [{"name": f"eks-{group}"}]}],
            }
        case "iam/role:Role" | "iam/policy:Policy" | "iam/instanceProfile:InstanceProfile":
            made = {"Role": "role", "Policy": "policy"}.get(kind, "instance-profile")
            told |= {"arn": arn(f"{made}/{called}"), "uniqueId": "AROA1A2B3C4D"}
            told |= {"id": told["arn"] if kind == "Policy" else called}
        case "kms/key:Key":
            told |= {"keyId": identity, "arn": arn(f"key/{identity}")}
        case "cloudwatch/logGroup:LogGroup":
            told |= {"id": called, "arn": arn(f"log-group:{called}", "logs")}
        case "s3/bucket:Bucket" | "s3/bucketV2:BucketV2":
            bucket = inputs.get("bucket") or f"{name}-1a2b3c4"
            told |= {
                "id": bucket,
                "bucket": bucket,
                "arn": arn(bucket, everywhere=True),
                "bucketRegionalDomainName": f"{bucket}.s3.{REGION}.amazonaws.com",
            }
        case "rds/instance:Instance":
            called = inputs.get("identifier") or called
            address = f"{called}.1a2b.{REGION}.rds.amazonaws.com"
            secret = {
                "secretArn": arn("secret:rds!db-1a2b", "secretsmanager"),
                "kmsKeyId": inputs.get("masterUserSecretKmsKeyId") or "aws/secretsmanager",
                "secretStatus": "active",
            }
            told |= {
                "identifier": called,
                "arn": arn(f"db:{called}"),
                "address": address,
                "port": inputs.get("port") or 5432,
                "endpoint": f"{address}:{inputs.get('port') or 5432}",
                "masterUserSecrets": [secret] if inputs.get("manageMasterUserPassword") else [],
            }
        case "ecr/repository:Repository":
            registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
            told |= {"registryId": ACCOUNT, "repositoryUrl": f"{registry}/{called}"}
            told |= {"arn": arn(f"repository/{called}")}
        case "secretsmanager/secret:Secret":
            told |= {"arn": arn(f"secret:{called}-1a2b")}
        case "acm/certificate:Certificate":
            domains = [inputs.get("domainName", ""), *inputs.get("subjectAlternativeNames", [])]
            records = [
                {
                    "domainName": domain,
                    "resourceRecordName": f"_1a2b.{domain}.",
                    "resourceRecordType": "CNAME",
                    "resourceRecordValue": "_3c4d.acm-validations.aws.",
                }
                for domain in dict.fromkeys(domains)
            ]
            told |= {"arn": arn("certificate/1a2b"), "domainValidationOptions": records}
        case "route53/zone:Zone":
            told |= {"zoneId": identity, "arn": arn(f"hostedzone/{identity}", everywhere=True)}
        case "route53/record:Record":
            told |= {"fqdn": str(inputs.get("name", "")).rstrip(".")}
        case "lb/loadBalancer:LoadBalancer":
            told |= {"dnsName": f"{called}.elb.{REGION}.amazonaws.com", "zoneId": "Z1A2B3C4"}
            told |= {"arn": arn(f"loadbalancer/net/{called}/1a2b", "elasticloadbalancing")}
        case "lb/targetGroup:TargetGroup":
            told |= {"arn": arn(f"targetgroup/{called}/1a2b", "elasticloadbalancing")}
        case "sqs/queue:Queue":
            told |= {"url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{called}"}
            told |= {"arn": arn(called)}
    return {"id": identity, "arn": arn(f"{kind.lower()}/{called}"), **told, **_whole(inputs, told)}


def _whole(inputs: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The inputs that nothing was added to."""
    return {key: value for key, value in inputs.items() if not isinstance(told.get(key), dict)}
