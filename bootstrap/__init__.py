"""What has to be there before Pulumi can keep a stack on AWS: the bucket of its state, and the key
of its secrets.
"""
