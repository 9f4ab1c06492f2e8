"""What the commands answer, from what was read; pure."""
