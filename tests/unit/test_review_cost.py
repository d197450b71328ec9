"""What a stack on AWS costs: each thing that is billed, sums, what they leave out, and how it is
said."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from review import bill_aws, cost
from review.bill import Item, Resource, Stack
from review.cost_text import cells, lines
from review.markdown import comment, rows
from review.preview import UNKNOWN
from review.report import review
from review.words import plain
from tests.previews import on_aws
from tests.unit.test_review_markdown import text

PRICES = on_aws.PRICES
HOURS = 730


def items(kind: str, *more: Resource, depends: tuple[str, ...] = (), **inputs: Any) -> list[Item]:
    """What is billed of one resource, beside others."""
    one = Resource(kind, "it", inputs, frozenset(depends))
    everything = Stack((one, *more))
    return [
        item
        for item in bill_aws.items(everything, PRICES)
        if item not in bill_aws.items(Stack(more), PRICES)
    ]


def counted(found: list[Item]) -> list[tuple[str, str, Any, Any]]:
    return [(plain(i.what), i.key, i.low, i.high) for i in found if not i.by_use]


def used(found: list[Item]) -> set[str]:
    return {item.key for item in found if item.by_use}


@pytest.mark.parametrize("case", sorted(on_aws.previews()))
def test_the_comment_is_as_it_was_read_and_approved(case: str) -> None:
    wanted = (on_aws.HERE / f"golden/{case}.md").read_text()
    assert comment(on_aws.reviewed(case)) == wanted


def test_a_comment_that_is_cut_has_the_table_whole_or_not_at_all() -> None:
    whole = comment(on_aws.reviewed("aws-first"))
    for limit in range(1200, len(whole), 97):
        cut = comment(on_aws.reviewed("aws-first"), limit)
        assert len(cut) <= limit
        assert cut.count("<details>") == cut.count("</details>")
        assert ("| what |" in cut) == ("| reading from S3 |" in cut)


def test_of_a_stack_that_is_not_on_aws_no_cost_is_told() -> None:
    from tests.previews import golden

    for case in golden.cases():
        found = review("dev", golden.preview(case), on_aws.lookup)
        assert comment(found) == comment(golden.reviewed(case))


def test_a_preview_that_failed_and_a_drift_tell_no_cost() -> None:
    found = on_aws.previews()["aws-more"]
    assert review("prod", found, on_aws.lookup).costs
    assert not review("prod", found, on_aws.lookup, drift=True).costs
    said = review("prod", replace(found, complete=False), on_aws.lookup)
    assert not said.costs
    assert not [one for one in said.sections if one.title.startswith("Cost")]


def test_a_node_group_costs_from_its_least_to_its_most_with_its_disks() -> None:
    template = Resource("aws:ec2/launchTemplate:LaunchTemplate", "template", on_aws.TEMPLATE)
    other = Resource("aws:ec2/launchTemplate:LaunchTemplate", "other", {})
    kind = "aws:eks/nodeGroup:NodeGroup"
    found = items(kind, template, other, depends=("template",), **on_aws.NODES)
    assert counted(found) == [
        ("nodes of it, m9.large", "ec2.m9.large", 2, 6),
        ("disks of it", "ebs.gp3", 100, 300),
    ]
    # Whose image decides how large its disk is.
    found = items(kind, other, depends=("other",), **on_aws.NODES)
    assert counted(found)[1] == ("disks of it", "", None, None)
    assert found[1].note
    # Without a template a node has 20 GB.
    found = items(kind, scalingConfig={"minSize": 0, "maxSize": 3})
    assert counted(found) == [
        ("nodes of it, t3.medium", "ec2.t3.medium", 0, 3),
        ("disks of it", "ebs.gp3", 0, 60),
    ]


@pytest.mark.parametrize(("capacity", "note"), [("SPOT", "spot"), ("CAPACITY_BLOCK", "paid ahead")])
def test_what_has_no_fixed_price_has_none(capacity: str, note: str) -> None:
    found = items("aws:eks/nodeGroup:NodeGroup", **on_aws.NODES, capacityType=capacity)
    assert found[0].key == ""
    assert note in found[0].note
    table = cost.Table((cost.Row(found[0], None),))
    assert (table.idle, table.most) == (cost.Sum(Decimal(0), False), cost.Sum(Decimal(0), False))
    assert [plain(line[0]) for line in cells(table)][0].startswith("nodes of it, m9.large (")
    assert plain(cells(table)[0][3]) == "no price"


@pytest.mark.parametrize(
    ("kind", "inputs", "wanted", "by_use"),
    [
        ("aws:ec2/natGateway:NatGateway", {}, [("NAT gateway", "nat.hour", 1, 1)],
         {"nat.data", "transfer.out"}),
        ("aws:ec2/eip:Eip", {}, [("public IPv4 address", "ipv4.hour", 1, 1)], set()),
        ("aws:ec2/vpcEndpoint:VpcEndpoint",
         {"vpcEndpointType": "Interface", "subnetIds": [UNKNOWN] * 3},
         [("interface endpoint, in each zone", "endpoint.hour", 3, 3)], {"endpoint.data"}),
        ("aws:ec2/vpcEndpoint:VpcEndpoint",
         {"vpcEndpointType": "Interface", "subnetIds": UNKNOWN},
         [("interface endpoint, in each zone", "endpoint.hour", None, None)], {"endpoint.data"}),
        ("aws:ec2/vpcEndpoint:VpcEndpoint", {"vpcEndpointType": "Gateway"}, [], set()),
        ("aws:ec2/vpcEndpoint:VpcEndpoint", {}, [], set()),
        ("aws:lb/loadBalancer:LoadBalancer",
         {"loadBalancerType": "network", "subnets": ["a", "b"]},
         [("network load balancer", "nlb.hour", 1, 1),
          ("public IPv4 address", "ipv4.hour", 2, 2)], {"nlb.lcu", "transfer.out"}),
        # Its addresses are of Elastic IPs, which are counted by themselves.
        ("aws:lb/loadBalancer:LoadBalancer",
         {"loadBalancerType": "network", "subnetMappings": [{"allocationId": UNKNOWN}]},
         [("network load balancer", "nlb.hour", 1, 1)], {"nlb.lcu", "transfer.out"}),
        ("aws:lb/loadBalancer:LoadBalancer", {"internal": True},
         [("application load balancer", "alb.hour", 1, 1)], {"alb.lcu"}),
        ("aws:rds/instance:Instance", on_aws.DATABASE,
         [("database in two zones, postgres db.t9.medium", "rds.db.t9.medium.multi", 1, 1),
          ("the database's storage", "rds.gp3.multi", 20, 100),
          ("secret of Secrets Manager", "secret.month", 1, 1)],
         {"rds.backup", "secret.requests"}),
        ("aws:rds/instance:Instance",
         {"engine": "mysql", "instanceClass": "db.t9.medium", "allocatedStorage": 20},
         [("database in one zone, mysql db.t9.medium", "", 1, 1),
          ("the database's storage", "rds.gp2.single", 20, 20)], {"rds.backup"}),
        ("aws:kms/key:Key", {}, [("key of KMS", "kms.key", 1, 1)], {"kms.requests"}),
        ("aws:secretsmanager/secret:Secret", {},
         [("secret of Secrets Manager", "secret.month", 1, 1)], {"secret.requests"}),
        ("aws:s3/bucket:Bucket", {}, [], {"s3.storage", "s3.put", "s3.get"}),
        ("aws:ecr/repository:Repository", {}, [], {"ecr.storage"}),
        ("aws:route53/zone:Zone", {}, [("zone of Route 53", "route53.zone", 1, 1)], set()),
        ("aws:wafv2/webAcl:WebAcl", {"rules": [{}, {}]},
         [("web firewall (WAF)", "waf.acl", 1, 1),
          ("rule of the web firewall", "waf.rule", 2, 2)], {"waf.requests"}),
        ("aws:cloudwatch/logGroup:LogGroup", {}, [], {"logs.data", "logs.storage"}),
        ("aws:ec2/flowLog:FlowLog", {"logDestinationType": "cloud-watch-logs"}, [], {"logs.data"}),
        ("aws:ec2/flowLog:FlowLog", {"logDestinationType": "s3"}, [], {"logs.to-s3"}),
        ("aws:sqs/queue:Queue", {}, [], {"sqs.requests"}),
        ("kubernetes:core/v1:PersistentVolumeClaim",
         {"spec": {"resources": {"requests": {"storage": "2Gi"}}}},
         [("volumes in the cluster", "ebs.gp3", 2, 2)], set()),
        ("kubernetes:apps/v1:StatefulSet",
         {"spec": {"replicas": 3, "volumeClaimTemplates": [
             {"spec": {"resources": {"requests": {"storage": "10Gi"}}}}]}},
         [("volumes in the cluster", "ebs.gp3", 30, 30)], set()),
        ("kubernetes:core/v1:Service", {"spec": {"type": "LoadBalancer"}},
         [("network load balancer", "nlb.hour", 1, 1)], {"nlb.lcu", "transfer.out"}),
        ("kubernetes:core/v1:Service", {"spec": {"type": "NodePort"}}, [], set()),
    ],
)  # fmt: skip
def test_each_thing_is_billed_as_aws_does(
    kind: str, inputs: dict[str, Any], wanted: list[Any], by_use: set[str]
) -> None:
    found = items(kind, **inputs)
    assert counted(found) == wanted
    assert used(found) == by_use


def test_what_is_not_known_to_be_free_is_never_taken_for_free() -> None:
    (one,) = items("aws:mwaa/environment:Environment")
    assert (plain(one.what), one.key) == ("mwaa/environment:Environment", "")
    table = cost.Table((cost.Row(one, None),))
    assert plain(lines(cost.Costs("xx", PRICES, cost.Table(), table))[2]) == (
        "without a price: mwaa/environment:Environment"
    )
    for free in ("iam/role:Role", "ec2/vpc:Vpc", "ec2/subnet:Subnet", "acm/certificate:Certificate",
                 "ec2/routeTable:RouteTable", "eks/addon:Addon", "ec2/securityGroup:SecurityGroup",
                 "vpc/securityGroupIngressRule:SecurityGroupIngressRule", "kms/alias:Alias",
                 "lb/targetGroup:TargetGroup", "s3/bucketVersioning:BucketVersioning",
                 "ecr/lifecyclePolicy:LifecyclePolicy", "rds/subnetGroup:SubnetGroup",
                 "secretsmanager/secretPolicy:SecretPolicy", "ec2/launchTemplate:LaunchTemplate",
                 "eks/accessEntry:AccessEntry", "route53/record:Record",
                 "ec2/vpcEndpointRouteTableAssociation:RouteTableAssociation"):  # fmt: skip
        assert items(f"aws:{free}") == [], free


@pytest.mark.parametrize(
    ("version", "policy", "keys", "word"),
    [
        ("1.31", {}, ["eks.cluster"], "standard support until 2026-02-28"),
        ("1.30", {}, ["eks.cluster", "eks.extended"], "standard support ended on 2026-02-27"),
        # EKS upgrades it instead.
        ("1.30", {"supportType": "STANDARD"}, ["eks.cluster"], "until 2026-02-27"),
        ("1.99", {}, ["eks.cluster"], ""),
    ],
)
def test_an_old_kubernetes_costs_more(
    version: str, policy: dict[str, str], keys: list[str], word: str
) -> None:
    kind = "aws:eks/cluster:Cluster"
    found = items(kind, version=version, upgradePolicy=policy)
    assert [item.key for item in found] == keys
    assert word in found[-1].note
    table = cost.table(Stack((Resource(kind, "it", {"version": version}),)), PRICES)
    said = [plain(line) for line in lines(cost.Costs("xx", PRICES, cost.Table(), table))]
    assert ("extended support makes the cluster six times as dear" in said) == (version == "1.30")
    if version == "1.30":
        assert table.idle.usd == 6 * PRICES.prices["eks.cluster"].monthly


def pool(limits: Any, *requirements: tuple[str, list[str]]) -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu"},
        "spec": {
            "limits": limits,
            "template": {
                "spec": {
                    "nodeClassRef": {"kind": "EC2NodeClass", "name": "default"},
                    "requirements": [
                        {"key": key, "operator": "In", "values": values}
                        for key, values in requirements
                    ],
                }
            },
        },
    }


CLASS = Resource(
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass",
    "node-class",
    {
        "metadata": {"name": "default"},
        "spec": {"blockDeviceMappings": [{"ebs": {"volumeSize": "100Gi", "volumeType": "gp3"}}]},
    },
)
FAMILY = ("karpenter.k8s.aws/instance-family", ["m9"])
TYPES = ("node.kubernetes.io/instance-type", ["g9.xlarge", "m9.large"])


@pytest.mark.parametrize(
    ("limits", "requirements", "wanted", "bounded"),
    [
        ({"cpu": "21"}, [FAMILY], ("m9.xlarge", 0, 5), True),
        ({"cpu": 16, "nvidia.com/gpu": "3"}, [TYPES], ("g9.xlarge", 0, 3), True),
        ({"cpu": "3"}, [TYPES], ("m9.large", 0, 1), True),
        ({}, [FAMILY], ("m9.xlarge", 0, None), False),
        ({"memory": "100Gi"}, [TYPES], ("g9.xlarge", 0, None), False),
        ({"cpu": "8"}, [("karpenter.k8s.aws/instance-size", ["large"])], ("m9.large", 0, 4), True),
        ({"cpu": "8"}, [("karpenter.k8s.aws/instance-category", ["g"])], ("g9.xlarge", 0, 2), True),
    ],
)
def test_karpenter_costs_nothing_while_nobody_asks_and_at_most_what_its_limits_let(
    limits: Any, requirements: list[Any], wanted: tuple[str, int, int | None], bounded: bool
) -> None:
    kind = "kubernetes:karpenter.sh/v1:NodePool"
    one = Resource("aws:ec2/vpc:Vpc", "v", {})
    nodes, disks = items(kind, CLASS, one, **pool(limits, *requirements))
    assert (nodes.key, nodes.low, nodes.high) == (f"ec2.{wanted[0]}", *wanted[1:])
    assert nodes.bounded is disks.bounded is bounded
    assert disks.high == (None if wanted[2] is None else 100 * wanted[2])
    stack = Stack((one, CLASS, Resource(kind, "it", pool(limits, *requirements))))
    table = cost.table(stack, PRICES)
    assert table.idle == cost.Sum(Decimal(0), True)
    assert table.most.whole is bounded
    if not bounded:
        assert plain(cells(table)[0][4]) == "no limit"


@pytest.mark.parametrize(
    ("limits", "requirements", "note"),
    [
        ({"cpu": "8"}, [("karpenter.sh/capacity-type", ["spot"]), FAMILY], "spot"),
        ({"cpu": "8"}, [("karpenter.sh/capacity-type", ["reserved"]), FAMILY], "paid ahead"),
        ({"cpu": "8"}, [("karpenter.k8s.aws/instance-family", ["x1"])], "no price for any"),
        ({"cpu": UNKNOWN}, [FAMILY], ""),
    ],
)
def test_of_what_karpenter_may_make_no_number_is_made_up(
    limits: Any, requirements: list[Any], note: str
) -> None:
    kind = "kubernetes:karpenter.sh/v1:NodePool"
    (one,) = items(kind, CLASS, **pool(limits, *requirements))
    assert (one.key, one.low, one.high) == ("", 0, None)
    assert note in one.note


def test_a_sum_says_when_it_leaves_something_out() -> None:
    known = cost.Row(Item(("a",), "nat.hour"), PRICES.get("nat.hour"))
    unknown = cost.Row(Item(("b",), "nat.hour", None, None), PRICES.get("nat.hour"))
    priceless = cost.Row(Item(("c",), "x", Decimal(2), Decimal(2)), None)
    nothing = cost.Row(Item(("d",), "x", Decimal(0), Decimal(2)), None)
    one = Decimal("0.05") * HOURS
    assert cost.Table((known,)).idle == cost.Sum(one, True)
    assert cost.Table((known, unknown)).idle == cost.Sum(one, False)
    assert cost.Table((known, priceless)).idle == cost.Sum(one, False)
    assert cost.Table((known, nothing)).idle == cost.Sum(one, True)
    assert cost.Table((known, nothing)).most == cost.Sum(one, False)
    table = cost.Table((known, unknown, priceless))
    said = [plain(line) for line in lines(cost.Costs("xx", PRICES, cost.Table(), table))]
    assert said[0] == "while nobody asks at least 36.50 USD"
    assert said[2:] == ["without a price: c", "unknown until the update: b"]
    assert [plain(line[3]) for line in cells(table)] == [
        "36.50", "unknown until the update", "no price", "at least 36.50",
    ]  # fmt: skip


def test_alike_things_are_one_row_and_the_sum_is_that_of_all() -> None:
    nat = "aws:ec2/natGateway:NatGateway"
    stack = Stack(tuple(Resource(nat, f"nat-{number}", {}) for number in range(3)))
    (row, *rest) = cost.table(stack, PRICES).rows
    assert (row.item.low, row.idle) == (3, Decimal("0.05") * HOURS * 3)
    assert all(one.item.by_use for one in rest)


def test_the_region_is_that_of_the_provider() -> None:
    def stack(*regions: tuple[str, Any]) -> Stack:
        return Stack(tuple(Resource("pulumi:providers:aws", n, {"region": r}) for n, r in regions))

    assert stack(("aws", "eu-west-1")).region == "eu-west-1"
    assert stack(("a-replica", "eu-west-2"), ("aws", "eu-west-1")).region == "eu-west-1"
    assert stack(("elsewhere", UNKNOWN)).region is None
    assert stack().region is None


@given(text)
def test_a_name_never_breaks_the_table(name: str) -> None:
    resources = (
        Resource("aws:eks/nodeGroup:NodeGroup", name, on_aws.NODES | {"instanceTypes": [name]}),
        Resource("aws:eks/cluster:Cluster", "c", {"version": name}),
        Resource(f"aws:{name}", "x", {}),
    )
    written = rows(cost.table(Stack(resources), PRICES))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse("\n".join(written))
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 1
    assert kinds.count("tr_open") == len(written) - 1
    assert kinds.count("td_open") == 5 * (len(written) - 2)
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner <= {"text", "code_inline", "strong_open", "strong_close"}


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False)
    | st.text(max_size=4) | st.just(UNKNOWN),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
KEYS = ("scalingConfig", "instanceTypes", "launchTemplate", "diskSize", "subnetIds", "subnets",
        "subnetMappings", "instanceClass", "multiAz", "allocatedStorage", "maxAllocatedStorage",
        "rules", "version", "upgradePolicy", "vpcEndpointType", "spec", "metadata")  # fmt: skip


@given(odd, st.sampled_from(sorted(bill_aws._READERS)))
def test_odd_inputs_are_read_without_a_trace(value: Any, kind: str) -> None:
    inside = {"minSize": value, "maxSize": value, "limits": value, "requirements": value}
    inside |= {"template": {"spec": {"requirements": [{"key": value, "values": value}]}}}
    inside |= {"volumeClaimTemplates": [value, {"spec": value}], "replicas": value}
    for given_value in (value, inside, [value]):
        inputs = dict.fromkeys(KEYS, given_value)
        for one in (kind, "kubernetes:karpenter.sh/v1:NodePool", "aws:eks/cluster:Cluster"):
            stack = Stack((Resource(one, "it", inputs), Resource("aws:ec2/vpc:Vpc", "v", {})))
            table = cost.table(stack, PRICES)
            assert len(cells(table)) == len(table.rows) + 1
            assert table.idle.usd >= 0
