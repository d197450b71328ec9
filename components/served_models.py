"""The models of a stack: for each a server for each version, and a route among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pulumi

from settings.model import Model

from .istio_mesh import IstioMesh
from .model_route import ModelRoute, ModelRouteArgs
from .model_server import ModelServer, ModelServerArgs, Surroundings
from .shadow_comparer import ShadowComparer, ShadowComparerArgs


def serve(
    models: Mapping[str, Model],
    home: Surroundings,
    mesh: IstioMesh,
    after: Callable[..., pulumi.ResourceOptions],
    registered: Sequence[pulumi.Resource] = (),
) -> None:
    """Make the servers and routes of `models`, and what compares a shadow's answers.

    after: options of a part that waits for those it is given. registered: what registers versions
    in the same update, before any server asks for them.
    """
    inside = [mesh] if home.sidecars else []
    for name, model in models.items():
        servers: dict[int, ModelServer] = {}
        for version in model.versions:
            size = model.resources, model.scaling
            least = model.floors.get(version)
            server = ModelServerArgs(name, version, home, *size, model.allow_pickle, least)
            servers[version] = ModelServer(
                f"{name}-v{version}", server, after(*inside, *registered)
            )
        pair = ShadowComparerArgs(name, home, servers, model)
        comparer = (
            ShadowComparer(f"{name}-comparer", pair, after(*inside)) if model.shadow else None
        )
        route = ModelRouteArgs(
            name, home.namespace, mesh, servers, model, comparer, home.sidecars is not None
        )
        ModelRoute(name, route, after(mesh, *servers.values()))
