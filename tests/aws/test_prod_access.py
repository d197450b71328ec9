"""Who may do what in production, by the documents that the whole program registers."""

from __future__ import annotations

import json

import pytest

from tests.aws import mutants, prod_access, prod_access_nodes
from tests.aws.access import Access, access
from tests.aws.prod_stacks import variant

OF_AWS = {
    "ground-base-eks-role": ["AmazonEKSClusterPolicy"],
    "ground-base-nodes-role-role": [
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKSWorkerNodePolicy",
    ],
    "ground-base-of-nodes-vpc-cni-role": ["AmazonEKS_CNI_Policy"],
    "ground-base-on-nodes-aws-ebs-csi-driver-role": ["AmazonEBSCSIDriverPolicy"],
    "karpenter-nodes-role": ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy"],
}


@pytest.fixture(scope="module")
def documents() -> Access:
    found = access(variant("karpenter"))
    # As the account's other keys have it, by default: who may use them is up to IAM.
    found.resource[prod_access.OTHER_KEY] = found.resource[prod_access.KEY]
    return found


def table(documents: Access) -> list[prod_access.Row]:
    return [*prod_access.table(documents), *prod_access_nodes.table()]


def test_each_role_may_do_its_work_and_nothing_else(documents: Access) -> None:
    asked = table(documents)
    assert mutants.surprises(documents, asked) == []
    # Every role that has a document of its own is asked about, for what it may and may not.
    for answer in (True, False):
        who = {one.who for one, allowed in asked if allowed is answer}
        assert {role for role, policies in documents.identity.items() if policies} <= who


def test_each_narrowing_that_is_removed_is_noticed(documents: Access) -> None:
    left = mutants.survivors(documents, table(documents))
    known = (*prod_access_nodes.NEEDLESS, *prod_access_nodes.UNASKED)
    assert [what for what in left if not any(one in what for one in known)] == []
    assert [one for one in known if not any(one in what for what in left)] == []


def test_policies_of_aws_own_are_few(documents: Access) -> None:
    found = {
        role: sorted(arn.rsplit("/", 1)[-1] for arn in arns)
        for role, arns in documents.managed.items()
    }
    assert found == OF_AWS


def test_each_role_of_pods_is_for_one_service_account() -> None:
    made = variant("karpenter")
    bound: dict[str, set[tuple[str, str]]] = {}
    for one in made.of("PodIdentityAssociation"):
        account = (one.inputs["namespace"], one.inputs["serviceAccount"])
        bound.setdefault(one.inputs["roleArn"], set()).add(account)
    for add_on in made.of("Addon"):
        for one in add_on.inputs.get("podIdentityAssociations", []):
            account = ("kube-system", one["serviceAccount"])
            bound.setdefault(one["roleArn"], set()).add(account)
    roles = [one for one in made.of("Role") if one.type == "aws:iam/role:Role"]
    names = {role.outputs["arn"]: role.name for role in roles}
    assert {names[arn]: accounts for arn, accounts in bound.items()} == {
        "ground-access-mlflow-role": {("mlflow", "mlflow")},
        "ground-access-model-churn-role": {("models", "churn-v1"), ("models", "churn-v2")},
        "ground-access-model-fraud-role": {("models", "fraud-v7")},
        "ground-access-model-iris-role": {("models", "iris-v1")},
        "ground-base-of-nodes-vpc-cni-role": {("kube-system", "aws-node")},
        "ground-base-on-nodes-aws-ebs-csi-driver-role": {("kube-system", "ebs-csi-controller-sa")},
        "karpenter-identity-role": {("kube-system", "karpenter")},
    }
    for role in roles:
        if role.outputs["arn"] in bound:
            (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
            assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
