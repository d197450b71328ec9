"""The policy pack, as Pulumi starts it."""

from pulumi_policy import EnforcementLevel, PolicyPack

from engine.edge import policies
from rules import ALL

PolicyPack("slipway", policies(ALL), EnforcementLevel.MANDATORY)
