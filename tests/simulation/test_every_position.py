"""Whatever is spoilt wherever in a scenario, no promise is broken."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from tests.counts import Counts


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


def enumerate_positions(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as one types it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.every_position", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
