"""How each type of AWS' resources is made, all in one table."""

from __future__ import annotations

from tests.aws import (
    replay_cluster,
    replay_data,
    replay_entrance,
    replay_identity,
    replay_network,
)
from tests.aws.replay import Table

TABLE: Table = {
    **replay_network.TABLE,
    **replay_identity.TABLE,
    **replay_data.TABLE,
    **replay_cluster.TABLE,
    **replay_entrance.TABLE,
}
