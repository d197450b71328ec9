"""What comes before what in a recorded program, how long its names are, and what a change
changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from tests.conftest import Key, Program, Recorded

# Pulumi's own names end in a hyphen and 7 hex digits.
SUFFIX = 8


def edges(program: Program) -> dict[Key, set[Key]]:
    """Resource -> what must stand before it: what it waits for, what its inputs come from, its
    parent, and its provider.
    """
    found: dict[Key, set[Key]] = {}
    for key, one in program.resources.items():
        before = {*one.after, *(source for sources in one.sources.values() for source in sources)}
        if one.under:
            before.add(one.under)
        if one.provider:
            before.add((f"pulumi:providers:{one.type.split(':')[0]}", one.provider))
        found[key] = {other for other in before if other in program.resources}
    return found


def cycle(program: Program) -> list[Key]:
    """A ring of resources that wait for each other; empty where there is none."""
    try:
        TopologicalSorter(edges(program)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def missing(program: Program) -> set[Key]:
    """What a resource waits for and the program does not have."""
    every = {key for one in program.resources.values() for key in (*one.after, one.under) if key}
    return {key for key in every - set(program.resources) if key[0] != "pulumi:pulumi:Stack"}


def stands_on(program: Program, key: Key) -> set[Key]:
    """All that must stand before a resource, by any number of steps.

    The engine takes a parent for a dependency as well, so what a component waits for stands
    before its children too; and the SDK takes a wait for a component as one for its children.
    """
    before = edges(program)
    found: set[Key] = set()
    waiting = [*before[key]]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += before[one]
    return found


def goes_before(program: Program, first: Key, second: Key) -> bool:
    """Whether a `destroy` deletes `first` before `second`: the reverse of how they are made.

    For a component all that a provider makes for it counts: each of `first`'s resources goes
    before some resource of `second`'s, and none of `second`'s before any of `first`'s.
    """
    ours, theirs = set(_made(program, first)), set(_made(program, second))
    assert ours and theirs, f"{first} or {second} has no resources"
    forth = all(stands_on(program, one) & theirs for one in ours)
    back = any(stands_on(program, one) & ours for one in theirs)
    return forth and not back


def _made(program: Program, key: Key) -> Iterator[Key]:
    """The resources of a provider that a component holds, at any depth; another one itself."""
    assert key in program.resources, f"no {key} in the program"
    if not key[0].startswith("slipway:"):
        yield key
    for child, one in program.resources.items():
        if one.under == key:
            yield from _made(program, child)


def changed(before: Program, after: Program) -> dict[Key, set[str]]:
    """Resource -> the inputs that differ between two runs; `+` or `-` for one that is new or
    gone.
    """
    found: dict[Key, set[str]] = {}
    for key in before.resources.keys() | after.resources.keys():
        old, new = before.resources.get(key), after.resources.get(key)
        if old is None or new is None:
            found[key] = {"+" if old is None else "-"}
            continue
        keys = old.inputs.keys() | new.inputs.keys()
        if differing := {one for one in keys if old.inputs.get(one) != new.inputs.get(one)}:
            found[key] = differing
    return found


# Type -> (the input that holds its name, the longest that AWS takes).
# https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html, and the API's pages.
LIMITS: Mapping[str, tuple[str, int]] = {
    "acm/certificate:Certificate": ("domainName", 253),
    "cloudwatch/eventRule:EventRule": ("name", 64),
    "cloudwatch/logGroup:LogGroup": ("name", 512),
    "ec2/launchTemplate:LaunchTemplate": ("name", 128),
    "ec2/securityGroup:SecurityGroup": ("name", 255),
    "ecr/repository:Repository": ("name", 256),
    "eks/cluster:Cluster": ("name", 100),
    "eks/nodeGroup:NodeGroup": ("nodeGroupName", 63),
    "iam/instanceProfile:InstanceProfile": ("name", 128),
    "iam/policy:Policy": ("name", 128),
    "iam/role:Role": ("name", 64),
    "iam/rolePolicy:RolePolicy": ("name", 128),
    "kms/alias:Alias": ("name", 256),
    "lb/loadBalancer:LoadBalancer": ("name", 32),
    "lb/targetGroup:TargetGroup": ("name", 32),
    "rds/instance:Instance": ("identifier", 63),
    "rds/parameterGroup:ParameterGroup": ("name", 255),
    "rds/subnetGroup:SubnetGroup": ("name", 255),
    "s3/bucket:Bucket": ("bucket", 63),
    "secretsmanager/secret:Secret": ("name", 512),
    "sqs/queue:Queue": ("name", 80),
    "wafv2/webAcl:WebAcl": ("name", 128),
}
# Types that have a name of AWS' own making, or one that is another resource's.
NAMELESS_INPUTS = frozenset({"name", "namePrefix"})


def too_long(program: Program) -> list[str]:
    """The names that AWS does not take, a line each; and those of types that LIMITS lacks."""
    return [
        line
        for one in program.custom()
        if one.type.startswith("aws:")
        for line in _name_faults(one)
    ]


def _name_faults(one: Recorded) -> Iterator[str]:
    limit = LIMITS.get(one.type.removeprefix("aws:"))
    if limit is None:
        # A record's name is a domain's, and an API's own names are no longer than it takes.
        if NAMELESS_INPUTS & set(one.inputs) and one.type not in NAMED_BY_OTHERS:
            yield f"{one.type} {one.name}: has a name, and no limit is known"
        return
    key, most = limit
    name = one.inputs.get(key)
    prefix = one.inputs.get(f"{key}Prefix")
    # The provider puts 26 characters behind a prefix, of a time and a count; Pulumi 8 behind its
    # own name for the resource.
    made = name or (f"{prefix}{'0' * 26}" if prefix else f"{one.name}-{'0' * (SUFFIX - 1)}")
    if len(made) > most:
        yield f"{one.type} {one.name}: {key} {made!r} has {len(made)} characters, {most} at most"


NAMED_BY_OTHERS = frozenset({"aws:route53/record:Record", "aws:route53/zone:Zone"})
