"""What an agent sees of its host, and shows of it."""
