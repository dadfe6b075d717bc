"""Records that did not pass: kept whole, with their reasons."""
