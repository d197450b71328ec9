"""Labels that every object of a stack has: who owns it, and who pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi


def label_all(labels: Mapping[str, str]) -> None:
    """Put these labels on every object of Kubernetes that the program makes from here on.

    A label that an object has already stays, and pods get none: new labels restart nothing. What a
    chart makes, its own values label.
    """
    if not labels:
        return

    def label(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        metadata: Any = args.props.get("metadata")
        if not args.type_.startswith("kubernetes:") or not isinstance(metadata, dict):
            return None
        both = {**labels, **metadata.get("labels", {})}
        props = {**args.props, "metadata": {**metadata, "labels": both}}
        return pulumi.ResourceTransformationResult(props, args.opts)

    pulumi.runtime.register_stack_transformation(label)
