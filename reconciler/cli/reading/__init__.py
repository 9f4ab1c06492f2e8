"""What the commands read before they judge."""
