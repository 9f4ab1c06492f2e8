"""One file per command: each reads, judges and renders."""
