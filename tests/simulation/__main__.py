"""`python -m tests.simulation [--seed N] [--count N] [--jobs N]`."""

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from tests.simulation.replay import Outcome, Replayer
from tests.simulation.schedule import draw_schedule

#: The order of sets of texts must be the same in every run.
HASH_SEED = "0"


def main() -> int:
    """Run schedules; 1 if one of them broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; 1 unless given")
    parser.add_argument("--count", type=int, default=1, help="so many seeds, one after another")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    parser.add_argument("--stop", action="store_true", help="stop at the first that is broken")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # It is read at the start of the interpreter only.
        arguments = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"PYTHONHASHSEED": HASH_SEED})
    logging.getLogger().setLevel(logging.ERROR)
    seeds = range(options.seed, options.seed + options.count)
    began, used = time.monotonic(), time.process_time()
    broken, steps, operations, seconds = 0, 0, 0, 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = map(run_seed, seeds) if options.jobs == 1 else pool.map(run_seed, seeds, chunksize=4)
        for outcome in runs:
            steps, operations = steps + outcome.steps, operations + outcome.operations
            seconds += outcome.seconds
            if options.trace:
                print(*outcome.trace, sep="\n")
            if outcome.violation:
                broken += 1
                print(f"seed {outcome.schedule.seed}: {outcome.violation}", flush=True)
                if options.stop:
                    return 1
    took, used = time.monotonic() - began, time.process_time() - used
    print(
        f"{len(seeds)} schedules, {broken} broken, {took:.1f} s ({used:.1f} s of processor);"
        f" {steps // len(seeds)} steps, {operations // len(seeds)} operations and"
        f" {seconds / len(seeds):.0f} virtual seconds each"
    )
    return 1 if broken else 0


def run_seed(seed: int) -> Outcome:
    """Run the schedule of one seed."""
    return _replayer().run(draw_schedule(seed))


@cache
def _replayer() -> Replayer:
    return Replayer()


if __name__ == "__main__":
    sys.exit(main())
