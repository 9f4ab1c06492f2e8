"""What the product talks to, in memory, with all the faults of the real ones."""
