"""The collector's page on this machine's loopback, whichever task shows it."""
