"""What other programs on the host filter by."""
