"""Resource options that the components share."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


def child(
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource] = (),
    *,
    timeout: str | None = None,
) -> pulumi.ResourceOptions:
    """Options of a child of `parent`.

    Its object has a fixed name, so a replacement deletes the old one first. `timeout` bounds, as
    in `4m`, the wait for it to become ready.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        delete_before_replace=True,
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout) if timeout else None,
    )
