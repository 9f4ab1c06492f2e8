"""How a process is told to stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stop(Protocol):
    """Whether to stop, as a threading.Event tells it."""

    def is_set(self) -> bool:
        """Whether it was asked for."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait until it is asked for, so many seconds at most; tells whether it was."""
        ...


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call this at SIGTERM and SIGINT while the body runs; it must not block."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        stop()

    before = {each: signal.signal(each, handle) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
