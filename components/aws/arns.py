"""ARNs of what AWS itself keeps, in each of its partitions: the world, China, GovCloud.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

from __future__ import annotations

from settings.aws.values import partition as partition


def managed_policy(region: str, name: str) -> str:
    """Of a policy of IAM that AWS keeps up to date, as in AmazonEKSClusterPolicy."""
    return f"arn:{partition(region)}:iam::aws:policy/{name}"


def access_policy(region: str, name: str) -> str:
    """Of a policy for access entries of EKS, as in AmazonEKSViewPolicy."""
    return f"arn:{partition(region)}:eks::aws:cluster-access-policy/{name}"


def cluster(region: str, account: str, name: str) -> str:
    """Of the EKS cluster of this name, before it is made."""
    return f"arn:{partition(region)}:eks:{region}:{account}:cluster/{name}"
