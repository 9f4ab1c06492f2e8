"""The clock that leases are measured by."""

import subprocess
import sys
import time

import pytest

from reconciler.runtime.clock import SystemClock

#: How much longer the machine is up than its processors ran, as after a suspend.
SUSPENDED = 100_000
WOKEN = """
import time
from reconciler.runtime.clock import SystemClock
print(SystemClock().monotonic() - time.monotonic())
"""


def test_it_goes_on_while_the_machine_is_suspended() -> None:
    namespace = f"unshare --user --map-root-user --time --boottime {SUSPENDED} --fork".split()
    woken = subprocess.run(
        [*namespace, sys.executable, "-c", WOKEN],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if woken.stderr.startswith("unshare:"):
        pytest.skip(f"no time namespaces here: {woken.stderr}")
    assert float(woken.stdout) > SUSPENDED - 10


def test_it_goes_on_while_nothing_happens() -> None:
    clock = SystemClock()
    before, began = clock.monotonic(), time.monotonic()
    while time.monotonic() == began:
        pass
    assert before < clock.monotonic() < before + 60
