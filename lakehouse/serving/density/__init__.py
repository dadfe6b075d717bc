"""Density: all events of a live table so far, as one picture that costs the same however many there were."""
