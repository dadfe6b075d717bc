"""Gates in the stream, and validation of what landed."""
