"""The runtime beside `mlflow models serve`: the same requests to both, the same answers from both.

``python -m serving_image.tests.differential`` is the long run; `test_differential` the short one.
"""
