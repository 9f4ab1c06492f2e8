"""The command line: `commands` answer by what is in `reading`, `judging` and `printing`."""
