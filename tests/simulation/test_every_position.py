"""Whatever is spoilt wherever in a scenario, no promise is broken."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.counts import Counts
from tests.simulation.__main__ import replayer
from tests.simulation.faults import WRITES, Fault, FaultKind, Place
from tests.simulation.scenarios import SCENARIOS


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_spoilt_position_breaks_a_promise(counts: Counts) -> None:
    # Each day others, so that all come round.
    day = datetime.now(UTC).toordinal()
    ended = enumerate_positions("--stride", str(counts.stride), "--shift", str(day), "--jobs", "2")
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]


def test_what_broke_can_be_had_again() -> None:
    ended = enumerate_positions("--scenario", "a task starts", "--at", "c0!:2:end:1")
    assert ended.returncode == 0
    assert " c0!:2:end:1\n" in ended.stdout
    assert ended.stdout.endswith("no promise is broken\n")


@pytest.mark.parametrize("number", range(1, 13))
def test_no_write_that_lands_late_takes_what_was_found_again(number: int) -> None:
    clean = SCENARIOS["what a host runs is found again"]
    late = Place(f"c0{WRITES}", number), Fault(FaultKind.LATE, 55.0)

    outcome = replayer().run(replace(clean, faults=(late,)))

    assert not outcome.violation


def enumerate_positions(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as one types it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.every_position", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
