"""The one thing that feed threads and a loop share."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from reconciler.runtime.conditions import Conditions

M = TypeVar("M")


class Inbox(Generic[M]):
    """Immutable messages from feed threads to the one loop thread.

    Of messages about one `subject` the latest alone waits, so that a loop which
    is held up finds no more of them than there are subjects; None is none.
    """

    def __init__(
        self,
        subject: Callable[[M], Hashable | None] = lambda _: None,
        conditions: Conditions = threading.Condition,
    ) -> None:
        self._subject = subject
        self._changed = conditions()
        self._messages: dict[Hashable, M] = {}
        self._number = 0

    def post(self, message: M) -> None:
        """Hand a message over, behind all that wait."""
        subject = self._subject(message)
        with self._changed:
            self._number += 1
            key = self._number if subject is None else (type(message), subject)
            self._messages.pop(key, None)
            self._messages[key] = message
            self._changed.notify_all()

    def drain(self, timeout: float) -> tuple[M, ...]:
        """All messages that wait; waits up to `timeout` seconds for the first."""
        with self._changed:
            if not self._messages and timeout > 0:
                self._changed.wait(timeout)
            messages, self._messages = tuple(self._messages.values()), {}
            return messages
