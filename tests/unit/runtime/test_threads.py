"""A thread does not die unnoticed."""

import subprocess
import sys

from reconciler.runtime.threads import DEFECT

DYING = """
import threading
from reconciler.runtime.threads import start_thread
start_thread("feed", lambda: 1 / 0)
threading.Event().wait(30)
"""


def test_a_defect_in_a_thread_ends_the_process_and_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DYING], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == DEFECT
    assert "ZeroDivisionError" in ended.stderr
