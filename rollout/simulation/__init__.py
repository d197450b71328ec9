"""Thousands of rollouts without a cluster, by the very rule that decides real ones. Pure."""
