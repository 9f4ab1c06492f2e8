"""One pass over the whole host."""
