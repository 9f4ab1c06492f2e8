"""Schedules of the cluster on twins; the seed of a broken one is in the failure's text."""

import os
import subprocess
import sys

import pytest

from tests.counts import Counts
from tests.simulation.__main__ import HASH_SEED
from tests.simulation.replay import Replayer
from tests.simulation.schedule import draw_schedule


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_schedule_breaks_a_promise(counts: Counts) -> None:
    ended = simulate("--seed", "1", "--count", str(counts.schedules), "--jobs", "2")
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]


@pytest.mark.parametrize("how", ["--restores", "--wipes"])
def test_a_store_that_goes_back_cuts_no_task_off(how: str) -> None:
    ended = simulate("--seed", "1", "--count", "12", how)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]


@pytest.mark.parametrize("seed", range(50, 550, 50))
def test_one_seed_is_one_run(seed: int) -> None:
    first, second = (Replayer().run(draw_schedule(seed)) for _ in range(2))
    assert (first.digest, first.steps) == (second.digest, second.steps)


def test_the_mix_is_mostly_short() -> None:
    lengths = [len({each.at for each in draw_schedule(seed).actions}) for seed in range(1000)]
    assert 150 > sum(length >= 25 for length in lengths) > 10
    assert sum(length <= 6 for length in lengths) > 550


def test_two_seeds_are_two_runs() -> None:
    replayer = Replayer()
    assert replayer.run(draw_schedule(5)).digest != replayer.run(draw_schedule(6)).digest


def test_a_run_with_its_faults_named_is_the_same_run() -> None:
    replayer = Replayer()
    drawn = replayer.run(draw_schedule(5))
    named = replayer.run(drawn.explicit)
    assert drawn.faults
    assert named.digest == drawn.digest


def test_another_process_repeats_a_run() -> None:
    texts = {simulate("--seed", "6", "--trace").stdout.rpartition("\n1 schedules")[0] for _ in "ab"}
    (text,) = texts
    assert "calm" in text


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as one types it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED},
    )
