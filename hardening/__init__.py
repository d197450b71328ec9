"""What public scanners say of what the stacks render, and what of that is accepted, and why.

`findings` and `accepted` are pure; `render`, `scanners` and `audit` are the edges.
"""
