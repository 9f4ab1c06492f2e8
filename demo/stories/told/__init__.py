"""The three stories, and the order in which they are told."""
