"""Slipway's runtime: what runs inside the one serving image.

Commands:
    ``python -m slipway_runtime.fetch``   brings one model version to a local folder, verified
    ``python -m slipway_runtime.server``  serves that folder by MLflow's scoring protocol and the
                                          Open Inference Protocol

Importing this package imports nothing else: a command pays only for what it uses.
"""

__version__ = "0.2.0"
