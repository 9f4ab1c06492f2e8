"""Datastore to kernel; one per host."""
