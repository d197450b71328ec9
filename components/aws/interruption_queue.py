"""The queue by which Karpenter hears of instances that are about to go."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws.cloudwatch.event_rule import EventRule
from pulumi_aws.cloudwatch.event_target import EventTarget
from pulumi_aws.sqs.queue import Queue
from pulumi_aws.sqs.queue_policy import QueuePolicy

from . import karpenter_policy
from .options import child

# A word that is older tells of what has happened.
KEPT_SECONDS = 300


@dataclass(frozen=True)
class InterruptionQueueArgs:
    """cluster: its name, for the rules' descriptions."""

    cluster: str


class InterruptionQueue(pulumi.ComponentResource):
    """An encrypted queue, and the rules of EventBridge that put into it what AWS says of the
    account's instances. They tell of all of them; Karpenter leaves aside what is not its own.

    Outputs: `name`, `arn`.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: InterruptionQueueArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:InterruptionQueue", name, None, opts)
        queue = Queue(
            f"{name}-queue",
            message_retention_seconds=KEPT_SECONDS,
            sqs_managed_sse_enabled=True,
            opts=child(self),
        )
        rules = {
            kind: EventRule(
                f"{name}-{kind}",
                description=f"Instances that change, for Karpenter of {args.cluster}: {kind}",
                event_pattern=json.dumps(pattern, sort_keys=True),
                opts=child(self),
            )
            for kind, pattern in karpenter_policy.EVENTS.items()
        }
        policy = QueuePolicy(
            f"{name}-policy",
            queue_url=queue.url,
            policy=karpenter_policy.queue(queue.arn, [rule.arn for rule in rules.values()]),
            opts=child(self),
        )
        for kind, rule in rules.items():
            EventTarget(
                f"{name}-{kind}-target",
                rule=rule.name,
                arn=queue.arn,
                opts=child(self, [policy]),
            )
        self.name, self.arn = queue.name, queue.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
