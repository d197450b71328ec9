"""What all rules stand on: values that may be unknown, resources, and what a rule is.

All of it is pure but `edge`, which speaks to Pulumi, and `journal`, which reads files.
"""
