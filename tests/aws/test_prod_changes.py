"""What goes before what when production is taken down, and what a change of it touches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import conftest, prod
from tests.aws import graph
from tests.aws.prod_stacks import staging, variant
from tests.conftest import Key, Program

KUBERNETES = "kubernetes:"
GROUND = ("aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon")
CLUSTER = ("aws:eks/cluster:Cluster", "ground-base-eks-cluster")
BALANCER = ("aws:lb/loadBalancer:LoadBalancer", "entrance-balancer")
VIRTUAL = ("kubernetes:networking.istio.io/v1:VirtualService", "churn-virtual-service")
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"


def of(program: Program, *kinds: str) -> set[Key]:
    """The resources whose type begins so."""
    found = {key for key in program.resources if key[0].startswith(kinds)}
    assert found, kinds
    return found


def supplies(program: Program) -> set[Key]:
    """What makes nodes and disks: the objects of the first provider of the cluster."""
    return {key for key in of(program, KUBERNETES) if program.resources[key].provider == "first"}


def late(program: Program, first: set[Key], then: set[Key]) -> Iterator[tuple[Key, Key]]:
    """Pairs of which a `destroy` may delete the second before the first, or at the same time."""
    for one in sorted(first):
        before = graph.stands_on(program, one)
        yield from ((one, other) for other in sorted(then - before))


@pytest.mark.parametrize("name", ["prod", "karpenter", "gpu"])
def test_the_cluster_is_taken_down_from_the_top(name: str) -> None:
    made = variant(name)
    ground, below = of(made, *GROUND), supplies(made)
    above = of(made, KUBERNETES) - below
    assert len(above) > 80
    assert list(late(made, above, below | ground)) == []
    assert list(late(made, below, ground)) == []
    assert list(late(made, ground, {CLUSTER})) == []
    network = of(made, "aws:ec2/subnet:", "aws:ec2/vpc:")
    assert list(late(made, {CLUSTER, *ground}, of(made, "aws:ec2/vpc:"))) == []
    private = {key for key in network if "-private-" in key[1]}
    nodes = of(made, "aws:eks/nodeGroup:NodeGroup")
    assert list(late(made, nodes, private)) == []
    assert list(late(made, {CLUSTER}, {key for key in private if key[1][-1] in "ab"})) == []
    # Pods have a way out, to AWS' API too, as long as they are.
    routes = {key for key in of(made, "aws:ec2/route:") if "-private-" in key[1]}
    assert list(late(made, above, routes | of(made, "aws:ec2/natGateway:"))) == []


def test_nodes_of_karpenter_go_before_its_controller_and_what_it_acts_by() -> None:
    made = variant("karpenter")
    pools = of(made, "kubernetes:karpenter.sh/v1:NodePool")
    classes = of(made, "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    release = {("kubernetes:helm.sh/v3:Release", "karpenter-release")}
    assert len(pools) == len(classes) == 2
    for kind, pool in pools:
        its = {one for one in classes if one[1] == pool.replace("-pool", "-class")}
        assert its and list(late(made, {(kind, pool)}, its)) == []
    assert list(late(made, classes, release)) == []
    acts = {key for key in of(made, "aws:") if key[1].startswith("karpenter-identity")}
    assert len(acts) == 3
    assert list(late(made, release, acts)) == []


@pytest.mark.parametrize("name", ["prod", "karpenter"])
def test_routes_go_before_servers_and_kinds_of_istio_before_the_mesh(name: str) -> None:
    made = variant(name)
    models = ("churn",) if name == "prod" else ("churn", "fraud", "iris")
    for model in models:
        virtual = {(VIRTUAL[0], f"{model}-virtual-service")}
        servers = {
            key
            for key in of(made, "kubernetes:apps/v1:Deployment")
            if key[1].startswith(f"{model}-v")
        }
        assert servers
        assert list(late(made, virtual, servers)) == []
        identity = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
        for _, server in servers:
            account = server.removesuffix("-deployment")
            mine = {(identity, f"ground-access-model-{model}-{account}")}
            assert list(late(made, {("kubernetes:apps/v1:Deployment", server)}, mine)) == []
    kinds = {key for key in made.resources if ".istio.io/" in key[0]}
    charts = {key for key in of(made, "kubernetes:helm.sh/") if key[1].startswith("mesh")}
    assert len(kinds) > 8 and len(charts) == 4
    definitions = {key for key in charts if "base" in key[1]}
    assert definitions
    assert list(late(made, kinds, definitions)) == []


@pytest.mark.parametrize("name", ["prod", "waf"])
def test_names_go_before_the_balancer_and_its_targets_before_their_nodes(name: str) -> None:
    made = variant(name)
    record = "aws:route53/record:Record"
    names = {(record, "entrance-models"), (record, "entrance-mlflow")}
    assert list(late(made, names, {BALANCER, *of(made, "aws:lb/listener:")})) == []
    nodes = of(made, "aws:eks/nodeGroup:NodeGroup")
    assert list(late(made, of(made, "aws:autoscaling/attachment:"), nodes)) == []
    certificate = of(made, "aws:acm/certificate:Certificate")
    assert list(late(made, {("aws:lb/listener:Listener", "entrance-https")}, certificate)) == []


def test_each_knob_touches_what_it_is_for_and_nothing_else() -> None:
    made = variant("prod")
    assert graph.changed(made, variant("weight")) == {VIRTUAL: {"spec"}}
    assert graph.changed(made, variant("scaling")) == {
        (AUTOSCALER, f"churn-v{version}-autoscaler"): {"spec"} for version in (1, 2)
    }
    assert graph.changed(made, variant("nodes")) == {
        ("aws:eks/nodeGroup:NodeGroup", "ground-base-nodes-group"): {"scalingConfig"}
    }


def test_another_version_brings_its_server_and_its_role_and_changes_the_route() -> None:
    found = graph.changed(variant("alone"), variant("prod"))
    assert found.pop(VIRTUAL) == {"spec"}
    assert set(map(frozenset, found.values())) == {frozenset({"+"})}
    association = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    assert {key for key in found if not key[1].startswith("churn-v2")} == {
        (association, "ground-access-model-churn-churn-v2")
    }
    assert ("kubernetes:apps/v1:Deployment", "churn-v2-deployment") in found


def test_another_image_touches_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "sha256:" + "1" * 64
    with monkeypatch.context() as patch:
        patch.setattr(conftest, "DIGEST", other)
        after = prod.render(prod.configuration())
    found = graph.changed(variant("prod"), after)
    assert {name for _, name in found} >= {"churn-v1-deployment", "churn-v2-deployment"}
    for key, inputs in found.items():
        assert key[0].split(":")[-1] in ("Deployment", "Job"), key
        was, now = (str(one.resources[key].inputs) for one in (variant("prod"), after))
        assert inputs == {"spec"}
        assert now.replace(other, conftest.DIGEST) == was, key


# Inputs that hold a name that must be unlike another stack's in the account, or in the world.
NAMES = {
    *("name", "namePrefix", "identifier", "finalSnapshotIdentifier", "domainName", "prefix"),
    *("ecrRepositoryPrefix", "nodeGroupName", "nodeGroupNamePrefix", "subjectAlternativeNames"),
}
OWN_BUCKET = "aws:s3/bucket:Bucket"


def names(program: Program) -> dict[tuple[str, str, str], str]:
    """Type, resource and input -> the name of AWS' resources that the program gives itself."""
    return {
        (one.type, one.name, key): str(value)
        for one in program.custom()
        for key, value in one.inputs.items()
        if one.type.startswith("aws:")
        and (key in NAMES or (one.type == OWN_BUCKET and key == "bucket"))
    }


def test_a_second_stack_by_the_same_configuration_shares_no_name() -> None:
    ours, theirs = names(variant("prod")), names(staging())
    assert ours.keys() == theirs.keys()
    kinds = {type_.rsplit(":", 1)[-1] for type_, _, _ in ours}
    assert kinds >= {
        "Alias",
        "Bucket",
        "Certificate",
        "Cluster",
        "Instance",
        "LogGroup",
        "Record",
        "Repository",
    }
    shared = [(key, value) for key, value in ours.items() if theirs[key] == value]
    assert shared == []


def test_nothing_of_a_second_stack_speaks_of_the_first() -> None:
    told = [one for one in staging().custom() if "slipway-prod" in str(one.inputs)]
    # Images that `make pins` has written into the configuration, by the way of prod's caches.
    assert all(one.type.startswith(KUBERNETES) for one in told)
    assert not [one for one in told if "slipway-prod" in str(one.inputs).replace(prod.MIRROR, "")]
