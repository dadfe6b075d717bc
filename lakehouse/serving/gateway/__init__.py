"""The gateway: who asks is known, what is answered is what they may see, and it is on record."""
