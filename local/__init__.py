"""The one-machine Kubernetes: its tools, its node, its images, and the commands behind `make`.

Everything up to the virtual environment runs on the system's Python with the standard
library alone, because it is what installs the rest.
"""
