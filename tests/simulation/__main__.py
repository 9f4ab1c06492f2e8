"""Runs schedules of the simulator, each drawn from a seed; 1 if one breaks a promise."""

import argparse
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

from tests.simulation.faults import parse_fault
from tests.simulation.replay import Outcome, Replayer
from tests.simulation.schedule import DRAWN_WITH, Schedule, draw_schedule
from tests.simulation.shrinking import command_of, part_of, shrink

#: The order of sets of texts must be the same in every run.
HASH_SEED = "0"
#: Seeds that a process is given at once, as few as that and as many.
CHUNKS = (4, 64)
#: Objects made before the next search for garbage; the interpreter's own is 700.
GARBAGE_AFTER = 10_000
#: Of so many it is told how far it is.
TOLD_EVERY = 10_000


def main() -> int:
    """Run what is asked for."""
    options = parse_options(sys.argv[1:])
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # It is read at the start of the interpreter only.
        arguments = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"PYTHONHASHSEED": HASH_SEED})
    if options.keep is not None:
        return _show(replayer().run(schedule_of(options)), options)
    seeds = range(options.seed, options.seed + options.count)
    run = partial(run_seed, _draw(options))
    chunk = min(max(options.count // (100 * options.jobs), CHUNKS[0]), CHUNKS[1])
    began = time.monotonic()
    count, broken, steps, operations, seconds = 0, 0, 0, 0, 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = map(run, seeds) if options.jobs == 1 else pool.map(run, seeds, chunksize=chunk)
        for outcome in runs:
            steps, operations = steps + outcome.steps, operations + outcome.operations
            count, seconds = count + 1, seconds + outcome.seconds
            broken += _show(outcome, options)
            if count % TOLD_EVERY == 0 and count < options.count:
                print(f"{count} schedules, {broken} broken", flush=True)
            if outcome.violation and options.shrink:
                _show_small(outcome, options)
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


def schedule_of(options: argparse.Namespace) -> Schedule:
    """The one schedule, or the part of it, that is asked for."""
    drawn = _draw(options)(options.seed)
    if options.keep is None:
        return drawn
    faults = tuple(map(parse_fault, filter(None, options.faults.split(","))))
    return part_of(drawn, options.keep, faults)


@cache
def replayer() -> Replayer:
    """The one of this process."""
    logging.getLogger().setLevel(logging.ERROR)
    made = Replayer()
    # What a schedule makes lives for most of it: looking for garbage finds little.
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    return made


def again(seed: int, options: argparse.Namespace) -> str:
    """What one types to have a seed again as it was drawn."""
    flags = " ".join(f"--{each}" for each in _drawn_with(options))
    return f"make simulate SEED={seed}" + (f' WITH="{flags}"' if flags else "")


def _draw(options: argparse.Namespace) -> Callable[[int], Schedule]:
    return partial(draw_schedule, **dict.fromkeys(_drawn_with(options), True))


def _drawn_with(options: argparse.Namespace) -> Sequence[str]:
    return [each for each in DRAWN_WITH if getattr(options, each)]


def _show(outcome: Outcome, options: argparse.Namespace) -> int:
    if options.trace:
        print(*outcome.trace, sep="\n")
    if outcome.violation:
        seed = outcome.schedule.seed
        print(f"seed {seed}: {outcome.violation}\n  {again(seed, options)}", flush=True)
    return 1 if outcome.violation else 0


def _show_small(outcome: Outcome, options: argparse.Namespace) -> None:
    small = shrink(outcome, replayer().run)
    drawn = _draw(options)(outcome.schedule.seed)
    print(f"  shrunk to {len(small.schedule.actions)} actions and {len(small.faults)} faults:")
    print(f"  {command_of(small, drawn, _drawn_with(options))}", flush=True)


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for."""
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
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
