"""How instances are started: where, by which ids, with what in their environment."""
