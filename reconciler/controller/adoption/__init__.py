"""What a new leader does before it gives any address: it learns what hosts hold."""
