"""From evidence to a verdict: the rule, its statistics, and the words for it. Pure."""
