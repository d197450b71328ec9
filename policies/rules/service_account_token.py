"""Only pods that ask the API server have a token for it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Pod, of_pods
from engine.rule import Given, Rule, patterns
from engine.values import get, items


def _messages(pod: Pod, given: Given) -> Iterator[str]:
    account = get(pod.spec, "serviceAccountName") or "default"
    place = f"{pod.resource.namespace}/{account}"
    if given.listed("allowed", place):
        return
    if get(pod.spec, "automountServiceAccountToken") is not False:
        yield f"automountServiceAccountToken is not false (service account {place})"
    for volume in items(pod.spec, "volumes"):
        for source in items(volume, "projected", "sources"):
            if get(source, "serviceAccountToken") is not None:
                yield f"volume {get(volume, 'name')} holds a token of service account {place}"


RULE = Rule(
    name="service-account-token",
    title="Tokens only where needed",
    description="Pods have a service account's token only where it is needed.",
    severity="medium",
    remediation="Set automountServiceAccountToken: false in the pod, or list its service account "
    "in the knob allowed.",
    references=(
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
    ),
    check=of_pods(_messages),
    knobs={"allowed": patterns("service accounts, as patterns of namespace/name, that need one")},
)
