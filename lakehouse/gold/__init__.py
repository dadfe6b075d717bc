"""The reference workspace's marts."""
