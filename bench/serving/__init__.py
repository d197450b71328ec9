"""The serving benchmark: Slipway's runtime beside its peers and the limit, in one run on loopback.

`python -m bench.serving`; docs/benchmarks.md says what is measured and how to read it.
"""
