"""Benchmarks: figures side by side in one run. Not tests: nothing fails for being slow."""
