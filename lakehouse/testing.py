"""What tests need: ours, and those of a workspace's own tables."""
