"""Runs schedules of the simulator, each drawn from a seed; 1 if one breaks a promise."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

from tests.simulation.faults import parse_fault
from tests.simulation.replay import Outcome, Replayer
from tests.simulation.schedule import Schedule, draw_schedule
from tests.simulation.shrinking import command_of, part_of, shrink

#: The order of sets of texts must be the same in every run.
HASH_SEED = "0"
#: Seeds that a process is given at once, as few as that and as many.
CHUNKS = (4, 64)
#: Of so many it is told how far it is.
TOLD_EVERY = 10_000


def main() -> int:
    """Run what is asked for."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # It is read at the start of the interpreter only.
        arguments = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"PYTHONHASHSEED": HASH_SEED})
    if options.keep is not None:
        faults = tuple(map(parse_fault, filter(None, options.faults.split(","))))
        drawn = draw_schedule(
            options.seed, restores=options.restores, wipes=options.wipes, adopts=options.adopts
        )
        outcome = replayer().run(part_of(drawn, options.keep, faults))
        return _show(outcome, options.trace)
    seeds = range(options.seed, options.seed + options.count)
    draw = partial(
        draw_schedule, restores=options.restores, wipes=options.wipes, adopts=options.adopts
    )
    run = partial(run_seed, draw)
    chunk = min(max(options.count // (100 * options.jobs), CHUNKS[0]), CHUNKS[1])
    began = time.monotonic()
    count, broken, steps, operations, seconds = 0, 0, 0, 0, 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = map(run, seeds) if options.jobs == 1 else pool.map(run, seeds, chunksize=chunk)
        for outcome in runs:
            steps, operations = steps + outcome.steps, operations + outcome.operations
            count, seconds = count + 1, seconds + outcome.seconds
            broken += _show(outcome, options.trace)
            if count % TOLD_EVERY == 0 and count < options.count:
                print(f"{count} schedules, {broken} broken", flush=True)
            if outcome.violation and options.shrink:
                _show_small(outcome, draw)
            if broken and options.stop:
                pool.shutdown(cancel_futures=True)
                break
    took = time.monotonic() - began
    print(
        f"{count} schedules, {broken} broken, {took:.1f} s;"
        f" {steps // count} steps, {operations // count} operations and"
        f" {seconds / count:.0f} virtual seconds each"
    )
    return 1 if broken else 0


def run_seed(draw: Callable[[int], Schedule], seed: int) -> Outcome:
    """Run the schedule of one seed."""
    return replayer().run(draw(seed))


@cache
def replayer() -> Replayer:
    """The one of this process."""
    logging.getLogger().setLevel(logging.ERROR)
    return Replayer()


def _show(outcome: Outcome, trace: bool) -> int:
    if trace:
        print(*outcome.trace, sep="\n")
    if outcome.violation:
        print(f"seed {outcome.schedule.seed}: {outcome.violation}", flush=True)
    return 1 if outcome.violation else 0


def _show_small(outcome: Outcome, draw: Callable[[int], Schedule]) -> None:
    small = shrink(outcome, replayer().run)
    print(f"  shrunk to {len(small.schedule.actions)} actions and {len(small.faults)} faults:")
    print(f"  {command_of(small, draw(outcome.schedule.seed))}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="the first seed; 1 unless given")
    add("--count", type=int, default=1, help="so many seeds, one after another")
    add("--jobs", type=int, default=1, help="so many at once")
    add("--trace", action="store_true", help="print what happened")
    add("--stop", action="store_true", help="stop at the first that is broken")
    add("--shrink", action="store_true", help="find a small part of what is broken")
    add("--restores", action="store_true", help="etcd is also set back to a backup")
    add("--wipes", action="store_true", help="etcd is also emptied")
    add("--adopts", action="store_true", help="an operator does not wait for hosts then")
    add("--keep", help="of the one seed only these actions, as --shrink says")
    add("--faults", default="", help="and only these faults, as --shrink says")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
