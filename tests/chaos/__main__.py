"""`python -m tests.chaos --seed 7 --seconds 600`: chaos on a cluster of its own.

Exit code 1 if a promise was broken: the seed brings the same plan again.
"""

import argparse
import sys
import time

from tests.chaos.instruments import InstrumentError
from tests.chaos.plan import draw_plan
from tests.chaos.run import ViolationError, chaos


def main() -> int:
    """Print the plan, carry it out, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    plan = draw_plan(options.seed, options.seconds)
    print(*plan.lines(), sep="\n", flush=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}] {text}", flush=True)

    try:
        with chaos(plan, say) as run:
            run.settle()
            run.wreak()
            run.converge()
    except (ViolationError, InstrumentError) as error:
        print(f"VIOLATION: {error}" if isinstance(error, ViolationError) else error)
        return 1
    print(*run.figures.lines(), "no violation", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
