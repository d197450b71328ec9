"""What the rules are tried on: series, and the alerts or values that must come of them."""
