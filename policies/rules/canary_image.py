"""A canary and stable run the same image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.pods import containers, pods
from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.values import get
from engine.workloads import routes, trials


def _images(workload: Resource) -> dict[str, str]:
    return {
        container.called: str(get(container.spec, "image"))
        for pod in pods(workload)
        for container in containers(pod)
    }


def _messages(route: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    for trial in trials(route, stack):
        first, second = _images(trial.stable), _images(trial.canary)
        for called in sorted(first.keys() & second.keys()):
            if first[called] != second[called]:
                yield (
                    f"{called}: {trial.stable_name} runs {first[called]}, {trial.canary_name} runs "
                    f"{second[called]}"
                )


RULE = Rule(
    name="canary-image",
    title="One image for canary and stable",
    description="A canary runs the image that stable runs, to the digest.",
    severity="high",
    remediation="Deploy the image to both; a canary is for a model.",
    references=("https://sre.google/workbook/canarying-releases/",),
    stack_check=of_each(routes, _messages),
)
