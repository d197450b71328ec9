"""A node can be drained, and takes one pod of a workload at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.workloads import SINGLE_KNOB, autoscaler, budgets, evictable, fewest, replicated


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    guards = []
    for guard in budgets(workload, stack):
        guards.append(guard.object_name)
        replicas = fewest(workload, stack)
        if replicas < 1 and autoscaler(workload, stack) is not None:
            replicas = 1  # what sleeps now has a pod when it is awake
        if replicas > 0 and evictable(guard, replicas) < 1:
            yield (
                f"{workload.place}: its PodDisruptionBudget {guard.object_name} lets none of "
                f"{replicas} replicas go, so its node cannot be drained"
            )
    if not guards and not given.listed("single", workload.place):
        yield f"{workload.place}: no PodDisruptionBudget selects its pods"
    if len(guards) > 1:
        yield (
            f"{workload.place}: PodDisruptionBudgets {', '.join(guards)} select the same pods, of "
            "which Kubernetes then evicts none"
        )


RULE = Rule(
    name="disruption-budget",
    title="A disruption budget that can be kept",
    description="Workloads have a PodDisruptionBudget, and it lets a pod go.",
    severity="medium",
    remediation="Make a PodDisruptionBudget with maxUnavailable: 1, or minAvailable below the "
    "fewest replicas; one alone for each workload.",
    references=("https://kubernetes.io/docs/tasks/run-application/configure-pdb/",),
    stack_check=of_each(replicated, _messages),
    knobs={"single": SINGLE_KNOB},
)
