"""The reference workspace's typed, gated and deduplicated tables."""
