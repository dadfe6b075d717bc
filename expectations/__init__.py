"""What a good row is: one suite a table, and nothing else."""
