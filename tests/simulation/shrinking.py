"""Finds a small part of a broken schedule that is broken in the same way."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulation.faults import Fault, Place, render_fault
from tests.simulation.replay import Outcome
from tests.simulation.schedule import Schedule, Timed

T = TypeVar("T")
Part = Timed | tuple[Place, Fault]

#: So many runs at most, of which each takes a second or so.
MOST_RUNS = 60


def shrink(
    broken: Outcome, run: Callable[[Schedule], Outcome], most_runs: int = MOST_RUNS
) -> Outcome:
    """The smallest run found that breaks the same promise; the given one if there is none."""
    best = broken
    runs = 0

    def breaks(parts: Sequence[Part]) -> bool:
        nonlocal best, runs
        if runs >= most_runs:
            return False
        runs += 1
        outcome = run(
            replace(
                broken.schedule,
                actions=tuple(each for each in parts if isinstance(each, Timed)),
                faults=tuple(each for each in parts if not isinstance(each, Timed)),
            )
        )
        if outcome.promise != broken.promise:
            return False
        best = outcome
        return True

    parts: list[Part] = [*broken.schedule.actions, *broken.faults]
    smallest(parts, breaks)
    return best


def smallest(parts: Sequence[T], breaks: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Parts of which none can be left out alone, by Zeller's delta debugging."""
    pieces = 2
    if breaks(()):
        return ()
    while len(parts) >= 2:
        size = max(1, len(parts) // pieces)
        for start in range(0, len(parts), size):
            rest = [*parts[:start], *parts[start + size :]]
            if breaks(rest):
                parts, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(len(parts), pieces * 2)
    return parts


def command_of(outcome: Outcome, drawn: Schedule, drawn_with: Collection[str] = ()) -> str:
    """What one types to have a run again; `drawn` is what its seed gives with these flags."""
    kept = [str(n) for n, each in enumerate(drawn.actions) if each in outcome.schedule.actions]
    faults = [render_fault(place, fault) for place, fault in outcome.faults]
    return (
        f"python -m tests.simulation --trace --seed {drawn.seed}"
        f"{''.join(f' --{each}' for each in drawn_with)}"
        f" --keep={','.join(kept)} --faults={','.join(faults)}"
    )


def part_of(drawn: Schedule, keep: str, faults: tuple[tuple[Place, Fault], ...]) -> Schedule:
    """The schedule that a command of that form means."""
    kept = {int(text) for text in keep.split(",") if text}
    actions = tuple(each for number, each in enumerate(drawn.actions) if number in kept)
    return replace(drawn, actions=actions, faults=faults)
