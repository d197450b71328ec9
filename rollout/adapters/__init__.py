"""What touches the world: Prometheus, the stack and its file, the registry, the journal's files."""
