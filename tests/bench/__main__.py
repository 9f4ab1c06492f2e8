"""`make bench`: every figure, or those of the parts named on the command line."""

import importlib
import sys

from tests.bench.report import Figure, Unavailable

PARTS = ("packets", "endpoints", "policy", "agent", "latency")


def main(wanted: list[str]) -> int:
    """Print the figures of each part; the exit code tells whether all were kept."""
    missed: list[Figure] = []
    for part in wanted or PARTS:
        print(f"\n{part}", flush=True)
        try:
            for line in importlib.import_module(f"tests.bench.{part}").measure():
                print(line, flush=True)
                if isinstance(line, Figure) and not line.kept:
                    missed.append(line)
        except Unavailable as error:
            print(f"not measured: {error}", flush=True)
    print(f"\n{len(missed)} missed" if missed else "\nall kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
