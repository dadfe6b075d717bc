"""Where tables lie, and how they are kept small and fast."""
