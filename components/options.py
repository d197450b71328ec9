"""What the components share: resource options, addresses inside the cluster, paths of charts."""

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


def by(*providers: pulumi.ProviderResource) -> pulumi.ResourceOptions:
    """Options of a part that is made by these providers."""
    return pulumi.ResourceOptions(providers=list(providers))


def inside_url(
    service: pulumi.Input[str], namespace: pulumi.Input[str], port: int
) -> pulumi.Output[str]:
    """Where pods reach a Service: its name in the cluster's DNS."""
    return pulumi.Output.concat("http://", service, ".", namespace, f".svc.cluster.local:{port}")


def chart(directory: str) -> str:
    """The path of a chart's directory as Helm takes it: one without ./ would name a repository."""
    return directory if directory.startswith(("/", "./")) else f"./{directory}"
