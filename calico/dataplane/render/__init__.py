"""What a host's kernel should hold, from the datastore's state: pure."""
