"""`make bench`: every figure, or those named on the command line."""

import importlib
import sys

PARTS = ("endpoints", "latency")


def main(wanted: list[str]) -> int:
    """Print the figures of each part; the exit code tells whether all were kept."""
    kept = True
    for part in wanted or PARTS:
        for figure in importlib.import_module(f"tests.bench.{part}").measure():
            print(figure, flush=True)
            kept &= figure.limit is None or figure.value <= figure.limit
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
