"""A page to copy; it is not served."""
