"""The reference workspace's replayers: recorded data turned back into events."""
