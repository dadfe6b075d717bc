"""The reference workspace's feeds, raw."""
