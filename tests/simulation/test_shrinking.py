"""Leaving out of a broken schedule what has no part in it."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import pytest

from tests.simulation.__main__ import again, parse_options, schedule_of
from tests.simulation.faults import Fault, FaultKind, Place, parse_fault, render_fault
from tests.simulation.replay import Outcome
from tests.simulation.schedule import DRAWN_WITH
from tests.simulation.shrinking import command_of, smallest

ROOT = Path(__file__).parents[2]
SUBSETS = list(chain.from_iterable(combinations(DRAWN_WITH, n) for n in range(4)))
named = pytest.mark.parametrize("drawn_with", SUBSETS, ids=" ".join)


@pytest.mark.parametrize(
    "needed",
    [
        pytest.param((), id="nothing"),
        pytest.param((7,), id="one"),
        pytest.param((0, 19), id="first and last"),
        pytest.param((3, 4, 11), id="some"),
        pytest.param(tuple(range(20)), id="all"),
    ],
)
def test_only_what_is_needed_is_left(needed: tuple[int, ...]) -> None:
    def breaks(parts: Sequence[int]) -> bool:
        return set(needed) <= set(parts)

    assert tuple(smallest(range(20), breaks)) == needed


def test_a_fault_is_written_as_it_is_read() -> None:
    place, fault = Place("c0", 118), Fault(FaultKind.LATE, 0.5)
    assert parse_fault(render_fault(place, fault)) == (place, fault)


@named
def test_what_is_printed_of_a_small_part_means_that_part(drawn_with: tuple[str, ...]) -> None:
    # given a part of a schedule, of which one fault happened
    flags = [f"--{each}" for each in drawn_with]
    drawn = schedule_of(parse_options(["--seed", "7", *flags]))
    faults = ((Place("c0!", 118), Fault(FaultKind.LATE, 0.5)),)
    part = replace(drawn, actions=drawn.actions[1:], faults=faults)
    ran = Outcome(part, "P7 is broken", "", (), faults, 0, 0, 0.0, {}, 0)
    # when the command is typed that was printed
    _, _, typed = command_of(ran, drawn, drawn_with).partition("tests.simulation ")
    # then it is that part again
    assert schedule_of(parse_options(shlex.split(typed))) == part


@named
def test_what_is_printed_of_a_seed_draws_the_same_schedule(drawn_with: tuple[str, ...]) -> None:
    asked = parse_options(["--seed", "7", *(f"--{each}" for each in drawn_with)])
    typed = shlex.split(again(7, asked))
    told = subprocess.run(
        [*typed, "--dry-run", "--no-print-directory"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.replace("\\\n", " ")
    _, _, arguments = told.partition("-m tests.simulation ")
    assert schedule_of(parse_options(shlex.split(arguments))) == schedule_of(asked)
