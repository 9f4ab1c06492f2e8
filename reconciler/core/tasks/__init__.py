"""What one task should have, from what its app and Mesos tell; pure."""
