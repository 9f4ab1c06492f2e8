"""The command line: one file per command, each reads, judges and renders."""
