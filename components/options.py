"""Resource options that the components share."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


def child(
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource] = (),
    *,
    timeout: str | None = None,
    holds_data: bool = False,
) -> pulumi.ResourceOptions:
    """Options of a child of `parent`.

    Its object has a fixed name, so a replacement deletes the old one first. `timeout` bounds, as
    in `4m`, the wait for it to become ready. `holds_data`: another storage class is for new volumes
    only, for the one that stands would be deleted to get it.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        delete_before_replace=True,
        ignore_changes=["spec.storageClassName"] if holds_data else None,
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout) if timeout else None,
    )
