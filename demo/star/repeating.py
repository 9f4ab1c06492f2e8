"""Something that is done again and again, beside everything else."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable


class Repeating:
    """Calls `once` at once and then every so many seconds, until it is stopped.

    A call that takes longer delays only its own next one, one that fails is told.
    """

    def __init__(self, once: Callable[[], None], every: float, name: str) -> None:
        self._once = once
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further call; one that is under way goes on."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            due = time.monotonic() + self._every
            try:
                self._once()
            except Exception:
                # A bug must not end it for good, nor be quiet.
                traceback.print_exc()
            self._stopped.wait(max(0.0, due - time.monotonic()))
