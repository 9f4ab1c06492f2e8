"""The health checks that Marathon does itself: it connects to tasks, over and over.

What is found is posted; what follows from it is for others to say.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from demo.marathon.core.health import Target
from demo.mesos.records import TaskId

#: Called with a task, the index of its check, and why it failed, None if it did not.
Found = Callable[[TaskId, int, str | None], None]

WORKERS = 8
#: A check that was asked for with an interval of nothing still lets others run.
LEAST_INTERVAL = 0.05
BODY_LIMIT = 1 << 16


class Checker:
    """Looks at each target at once and then every interval, until it is no target."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._changed = threading.Condition()
        self._due: dict[Target, float] = {}
        self._under_way: set[Target] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is under way ends by its timeout."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def watch(self, targets: frozenset[Target]) -> None:
        """Look at these from now on, and at no others."""
        with self._changed:
            if targets == self._due.keys():
                return
            now = time.monotonic()
            self._due = {target: self._due.get(target, now) for target in targets}
            self._changed.notify_all()

    def _run(self) -> None:
        with ThreadPoolExecutor(WORKERS, "check") as workers:
            while True:
                with self._changed:
                    if self._stopping:
                        workers.shutdown(wait=False, cancel_futures=True)
                        return
                    now = time.monotonic()
                    ready = [
                        target
                        for target, due in self._due.items()
                        if due <= now and target not in self._under_way
                    ]
                    for target in ready:
                        self._due[target] = now + max(LEAST_INTERVAL, target.interval)
                        self._under_way.add(target)
                        workers.submit(self._check, target)
                    if not ready:
                        waits = [
                            due - now for t, due in self._due.items() if t not in self._under_way
                        ]
                        self._changed.wait(min(waits, default=None))

    def _check(self, target: Target) -> None:
        cause = look(target)
        with self._changed:
            self._under_way.discard(target)
            wanted = target in self._due and not self._stopping
            self._changed.notify_all()
        if wanted:
            self._found(target.task_id, target.index, cause)


def look(target: Target) -> str | None:
    """One look; why it failed, None if it did not."""
    if target.address is None or target.port is None:
        return "the task has no address or no such port"
    try:
        if target.protocol == "TCP":
            address = (target.address, target.port)
            socket.create_connection(address, timeout=target.timeout).close()
            return None
        return _get(target, target.address, target.port)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


def _get(target: Target, address: str, port: int) -> str | None:
    connection = http.client.HTTPConnection(address, port, timeout=target.timeout)
    try:
        connection.request("GET", target.path)
        response = connection.getresponse()
        # To hang up on what is not read would be an error to who sends it.
        response.read(BODY_LIMIT)
        accepted = 200 <= response.status < 400 or (target.ignore_1xx and response.status < 200)
        return None if accepted else f"{response.status} {response.reason}"
    finally:
        connection.close()
