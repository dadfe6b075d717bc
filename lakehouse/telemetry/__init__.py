"""What the lanes say about themselves."""
