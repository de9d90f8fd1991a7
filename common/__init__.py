"""What the agents share: one subject a file."""
