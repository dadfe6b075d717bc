"""How readers reach the tables."""
