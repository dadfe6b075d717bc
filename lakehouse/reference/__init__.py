"""The reference workspace's reference data."""
