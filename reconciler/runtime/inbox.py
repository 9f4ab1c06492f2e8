"""The one thing that feed threads and a loop share."""

import queue
from typing import Generic, TypeVar

M = TypeVar("M")


class Inbox(Generic[M]):
    """Immutable messages from feed threads to the one loop thread."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[M] = queue.SimpleQueue()

    def post(self, message: M) -> None:
        """Hand a message over; never blocks."""
        self._messages.put(message)

    def drain(self, timeout: float) -> tuple[M, ...]:
        """All messages that wait; waits up to `timeout` seconds for the first."""
        drained: list[M] = []
        try:
            drained.append(
                self._messages.get(timeout=timeout) if timeout > 0 else self._messages.get_nowait()
            )
            while True:
                drained.append(self._messages.get_nowait())
        except queue.Empty:
            return tuple(drained)
