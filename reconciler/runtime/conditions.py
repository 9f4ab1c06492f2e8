"""How threads wait for one another: by conditions, which a simulation of threads has too."""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol


class Condition(Protocol):
    """What is used of threading.Condition; whoever calls a method has entered it."""

    def __enter__(self) -> bool:
        """Let nobody else in until the end of the body, or while it waits."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Let others in."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait to be notified, so many seconds at most."""
        ...

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until it is so, so many seconds at most; tells whether it is."""
        ...

    def notify_all(self) -> None:
        """Have everybody who waits look again."""
        ...


Conditions = Callable[[], Condition]
