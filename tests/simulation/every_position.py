"""Spoils every position of every scenario in turn; 1 if one of them breaks a promise.

After each write its process ends, each read of Marathon shows what was true a
while ago, each look at what is new in etcd is late, and each other read has no
answer; before each change of a kernel the agent ends, and each event of Marathon
is lost.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation.__main__ import HASH_SEED, replayer
from tests.simulation.faults import CHANGES, WRITES, Fault, FaultKind, Place, render_fault
from tests.simulation.replay import Outcome
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.schedule import Schedule

#: What is done at a position of each kind.
SPOILT = {
    WRITES: Fault(FaultKind.END, 1.0),
    CHANGES: Fault(FaultKind.KILL, 1.0),
    "": Fault(FaultKind.STALE, 20.0),
}
#: How a lost event is called, beside the places of faults.
EVENT = "event"
CHUNK = 8


def main() -> int:
    """Run what is asked for."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        arguments = [sys.executable, "-m", "tests.simulation.every_position", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"PYTHONHASHSEED": HASH_SEED})
    if options.at:
        (spoilt,) = (
            each
            for each in spoil(SCENARIOS[options.scenario], *_clean(options.scenario))
            if name_of(each) == options.at
        )
        outcome = replayer().run(spoilt)
        print(*outcome.trace, outcome.violation or "no promise is broken", sep="\n")
        return 1 if outcome.violation else 0
    began, count, broken = time.monotonic(), 0, 0
    names = [options.scenario] if options.scenario else list(SCENARIOS)
    with ProcessPoolExecutor(options.jobs) as pool:
        firsts = dict(zip(names, pool.map(run_scenario, names), strict=True))
        for name, first in firsts.items():
            broken += _show(name, "", first)
        runs = [
            (name, each)
            for name, first in firsts.items()
            for each in spoil(SCENARIOS[name], first.counts, first.events)
        ][options.shift % options.stride :: options.stride]
        schedules = [each for _, each in runs]
        outcomes = pool.map(run_schedule, schedules, chunksize=CHUNK)
        for (name, spoilt), outcome in zip(runs, outcomes, strict=True):
            count += 1
            broken += _show(name, name_of(spoilt), outcome)
    took = time.monotonic() - began
    print(f"{len(names)} scenarios, {count} positions, {broken} broken, {took:.1f} s")
    return 1 if broken else 0


def run_scenario(name: str) -> Outcome:
    """Run a scenario in which nothing is spoilt."""
    return run_schedule(SCENARIOS[name])


def run_schedule(schedule: Schedule) -> Outcome:
    """Run one; its trace is not worth the way between processes."""
    return replace(replayer().run(schedule), trace=())


def spoil(clean: Schedule, counts: dict[str, int], events: int) -> Iterator[Schedule]:
    """The scenario once for each of its positions, with that one spoilt."""
    for process, count in counts.items():
        kind = process[-1] if process[-1] in SPOILT else ""
        for number in range(1, count + 1):
            yield replace(clean, faults=((Place(process, number), SPOILT[kind]),))
    for number in range(1, events + 1):
        yield replace(clean, forgotten_event=number)


def name_of(spoilt: Schedule) -> str:
    """Which position it is, in one word."""
    if spoilt.forgotten_event:
        return f"{EVENT}:{spoilt.forgotten_event}"
    ((place, fault),) = spoilt.faults or ()
    return render_fault(place, fault)


def _clean(name: str) -> tuple[dict[str, int], int]:
    first = run_scenario(name)
    return first.counts, first.events


def _show(name: str, at: str, outcome: Outcome) -> int:
    if not outcome.violation:
        return 0
    print(f"{name}, {at or 'nothing spoilt'}: {outcome.violation}")
    again = f"--scenario {name!r}" + (f" --at {at}" if at else "")
    print(f"  python -m tests.simulation.every_position {again}", flush=True)
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.every_position", description=__doc__
    )
    add = parser.add_argument
    add("--scenario", choices=SCENARIOS, help="only this one")
    add("--at", help="only this position of it, as told when it broke, and print the run")
    add("--stride", type=int, default=1, help="only one of so many positions")
    add("--shift", type=int, default=0, help="which of them")
    add("--jobs", type=int, default=1, help="so many at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
