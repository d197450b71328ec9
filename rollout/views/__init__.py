"""What people see of a rollout: in the terminal, and as one HTML file."""
