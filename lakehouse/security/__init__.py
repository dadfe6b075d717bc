"""Who may see what: users, the policy, and the masks that hide values."""
