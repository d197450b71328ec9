"""The policy pack, as Pulumi starts it."""

from engine.edge import policies
from pulumi_policy import EnforcementLevel, PolicyPack

from rules import ALL

PolicyPack("slipway", policies(ALL), EnforcementLevel.MANDATORY)
