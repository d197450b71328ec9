"""Resource options that the parts on AWS share."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


def child(
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource] = (),
    *,
    keep: bool = False,
    protect: bool = False,
    retain: bool = False,
    fixed_name: bool = False,
    timeout: str | None = None,
    ignore: Sequence[str] = (),
) -> pulumi.ResourceOptions:
    """Options of a child of `parent`.

    keep: it holds data: no update and no `destroy` may delete it (protect), and where it leaves
    the program it stays on AWS (retain on delete). protect: no update and no `destroy` may delete
    or replace it. retain: where it leaves the program it stays on AWS. fixed_name: a replacement
    deletes the old one first, for both could not have the name. timeout: bounds, as in `60m`, each
    of create, update and delete. ignore: inputs, as in `scalingConfig.desiredSize`, that others
    change.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        protect=True if keep or protect else None,
        retain_on_delete=True if keep or retain else None,
        delete_before_replace=True if fixed_name else None,
        ignore_changes=list(ignore) or None,
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout)
        if timeout
        else None,
    )
