"""Seeded bugs that the simulator must find: it is worth what it can see."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import HASH_SEED

ROOT = Path(__file__).parents[2]
PACKAGES = ("calico", "marathon_client", "reconciler", "tests/simulation")
SEEDS = "3000"


QUICK = [
    pytest.param(
        "reconciler/runtime/watchfeed.py",
        "        except HistoryLost:\n            return\n",
        "        except HistoryLost:\n            self._stop.wait(1e9)\n",
        "P8",
        id="a feed waits on after events were lost",
    ),
    pytest.param(
        "reconciler/controller/reconcile.py",
        "ended = absent & self._absences.proof(() if app is None else (app,))",
        "ended = absent",
        "P4",
        id="one read of an app is proof enough",
    ),
    pytest.param(
        "reconciler/core/removal/quarantine.py",
        "            now - rest.since >= REST\n",
        "            True\n",
        "P5",
        id="an address does not rest",
    ),
    pytest.param(
        "reconciler/controller/writer.py",
        "encode_endpoint(spec), self._stored.expected(key, known))",
        "encode_endpoint(spec), None)",
        "P3",
        id="an endpoint is written whatever is there",
    ),
    pytest.param(
        "reconciler/controller/writer.py",
        "self._datastore.delete(key, expect=expect)",
        "self._datastore.delete(key)",
        "P3",
        id="an endpoint is deleted whatever is there",
    ),
    pytest.param(
        "reconciler/agent/passing/revocation.py",
        "            self._dataplane.forget(ended)\n",
        "",
        "P",
        id="revoked connections go on",
    ),
]
#: Found by one schedule in hundreds.
SLOW = [
    pytest.param(
        "reconciler/core/removal/withdrawal.py",
        "if listed.is_empty or len(unproven) > limit:",
        "if len(unproven) > limit:",
        "P4",
        id="an empty list is believed",
    ),
    pytest.param(
        "reconciler/core/removal/quarantine.py",
        "oldest = min((applied[h]",
        "oldest = max((applied[h]",
        "P",
        id="one host's word frees an address",
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Those that few schedules find only in long runs."""
    if "promise" in metafunc.fixturenames:
        more = SLOW if metafunc.config.getoption("--soak") else []
        metafunc.parametrize(("module", "right", "wrong", "promise"), [*QUICK, *more])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_bug_breaks_a_promise(
    module: str, right: str, wrong: str, promise: str, tmp_path: Path
) -> None:
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    for single in ("tests/__init__.py", "tests/counts.py"):
        shutil.copy(ROOT / single, tmp_path / single)
    path = tmp_path / module
    text = path.read_text()
    assert text.count(right) == 1, "the bug no longer fits the code"
    path.write_text(text.replace(right, wrong))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--count", SEEDS, "--stop"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED, "PYTHONPATH": str(tmp_path)},
    )
    assert ended.returncode == 1, ended.stderr
    assert f": {promise}" in ended.stdout
