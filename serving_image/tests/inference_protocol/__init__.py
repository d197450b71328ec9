"""The Open Inference Protocol: the codec beside a stock client of it and beside MLflow.

``stock_client.check_with_stock_client`` holds a running server to the same.
"""
