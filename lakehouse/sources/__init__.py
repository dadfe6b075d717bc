"""Where records come from, one technology a file."""
