"""The images that a stack runs, by digest: `names` and `stack_file` are pure, `registry` speaks to
registries, `images` says which images a stack's settings name.
"""
