"""`make bench`: every figure, or those of the parts named on the command line."""

import importlib
import sys

from tests.bench.report import Figure, Unavailable

PARTS = (
    "packets",
    "endpoints",
    "policy",
    "agent",
    "latency",
    "dns",
    "attach",
    "opening",
    "hostile",
)


def main(wanted: list[str]) -> None:
    """Print the figures of each part; a missed one is a finding, not a failure."""
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
    why = ": docs/performance.md says why" if missed else ""
    print(f"\n{len(missed)} missed{why}" if missed else "\nall kept")


if __name__ == "__main__":
    main(sys.argv[1:])
