"""The two control loops, the name server and the command line."""
