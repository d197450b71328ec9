"""Slipway's runtime: what runs inside the one serving image.

Commands:
    ``python -m slipway_runtime.fetch``   brings one model version to a local folder, verified
    ``python -m slipway_runtime.server``  serves that folder with MLflow's scoring protocol

Importing this package imports nothing else: a command pays only for what it uses.
"""
