"""Threads whose unexpected end nobody would notice."""

import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

#: What the process ends with when a thread met a defect: sysexits' EX_SOFTWARE.
DEFECT = 70


def start_thread(name: str, run: Callable[[], None]) -> threading.Thread:
    """Run something in a daemon thread; a defect in it ends the whole process.

    A process that lives on without one of its threads looks healthy and is
    not. To end and be started again is harmless: nothing is undone at the end.
    """

    def guarded() -> None:
        try:
            run()
        except Exception:
            try:
                log.exception("defect in a thread", extra={"which": name})
            finally:
                os._exit(DEFECT)

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread
