"""The two control loops and the command line."""
