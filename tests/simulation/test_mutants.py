"""Planted bugs that the simulator must find: it is worth what it can see."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.mutant import planted
from tests.mutants.table import MUTANTS
from tests.simulation.__main__ import HASH_SEED

ROOT = Path(__file__).parents[2]
PACKAGES = ("calico", "marathon_client", "reconciler", "tests/simulation")
#: As many as are tried for those of QUICK, and for those of SLOW.
SEEDS, MANY_SEEDS = "3000", "8000"

#: The promise that a schedule then breaks, by what the code does wrong.
QUICK = {
    "a feed waits on after its history was lost": "P8",
    "one read of an app ends tasks without evidence": "P4",
    "an address does not rest": "P5",
    "an endpoint is written without comparing": "P3",
    "what is withdrawn is removed whatever it is by now": "P3",
    "flows go on when what allowed them is gone": "P8",
    "a container that ends without a word keeps its address": "P8",
    "a sweep frees the address of a container that lives": "P5",
    "a container is open before a task has claimed it": "P2",
}
#: Found by one schedule in hundreds.
SLOW = {
    "an empty list of apps is the truth": "P4",
    "an address is free after one host's word": "P5",
}
BUGS = {each.what: each for each in MUTANTS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Those that few schedules find only in long runs."""
    if "promise" in metafunc.fixturenames:
        more = SLOW if metafunc.config.getoption("--soak") else {}
        metafunc.parametrize(("what", "promise"), (QUICK | more).items())


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_bug_breaks_a_promise(what: str, promise: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    for single in ("tests/__init__.py", "tests/counts.py"):
        shutil.copy(ROOT / single, tmp_path / single)
    path = tmp_path / BUGS[what].file
    wrong = planted(BUGS[what], path.read_text())
    assert wrong is not None, "the bug no longer fits the code"
    path.write_text(wrong)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.simulation", "--stop"),
            *(("--count", MANY_SEEDS, "--jobs", "2") if what in SLOW else ("--count", SEEDS)),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED, "PYTHONPATH": str(tmp_path)},
    )
    assert ended.returncode == 1, ended.stderr
    assert f": {promise} " in ended.stdout
