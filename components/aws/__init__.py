"""The parts of a stack on AWS, one ComponentResource a file; imported by no other stack.

Each takes its name, one Args value and ResourceOptions; bring the provider of AWS by `providers`.
Only leaf modules of pulumi_aws are imported: the whole package costs seconds.
"""

from pulumi_aws.provider import Provider as Account

from .accounts import accounts
from .entrance import Entrance, EntranceArgs
from .ground import Ground, GroundArgs, entrance
from .supplies import Supplies, SuppliesArgs

__all__ = [
    "Account",
    "Entrance",
    "EntranceArgs",
    "Ground",
    "GroundArgs",
    "Supplies",
    "SuppliesArgs",
    "accounts",
    "entrance",
]
