"""The whole walk on a one-machine cluster of the tests' own."""
