"""When the whole kernel is looked at: now and then, after changes, when one is noticed."""

from collections.abc import Callable

from calico.dataplane.api import Noticed
from calico.dataplane.state import Link
from calico.model import InterfaceName

#: Seconds between two looks at the whole kernel when nothing happens.
FULL_EVERY = 10.0
#: Seconds after a change until it is looked at again, and between retries.
VERIFY_AFTER = 1.0
#: Seconds that a link may be unlike itself: each that we make is so at first.
SETTLED_AFTER = 0.3
#: What lies between two looks that another program causes: so many seconds,
#: or so many times what the look took, whichever is more. A program that
#: changes our objects without end may have no more than that of this agent.
REST = 0.2
TIMES_OF_LOOKING = 2.0

NEVER = float("inf")


class Looks:
    """Keeps one agent's next look; owned by one thread."""

    def __init__(self, now: float) -> None:
        self._due = now
        self._suspects: dict[InterfaceName, Link | None] = {}
        self._suspects_due = NEVER
        self._rested = now
        self._noticed = False

    def ask(self, when: float) -> None:
        """Have a look made at that time, or earlier."""
        self._due = min(self._due, when)

    def notice(self, noticed: Noticed, now: float) -> None:
        """Have a look made if another program changed what is ours."""
        if noticed.foreign:
            self._ask_rested(now)
        if noticed.links:
            self._suspects |= noticed.links
            self._suspects_due = min(self._suspects_due, now + SETTLED_AFTER)

    def are_due(self, now: float, is_known: Callable[[InterfaceName, Link | None], bool]) -> bool:
        """Whether to look now; `is_known` tells whether a link is as it was left."""
        if now >= self._suspects_due:
            if not all(is_known(name, link) for name, link in self._suspects.items()):
                self._ask_rested(now)
            self._forget_suspects()
        return now >= self._due

    def next_due(self) -> float:
        """When to ask again whether a look is due."""
        return min(self._due, self._suspects_due)

    def begin(self, now: float) -> None:
        """A look is made now."""
        self._due = now + FULL_EVERY
        self._forget_suspects()

    def end(self, began: float, now: float) -> None:
        """The look that began then is over."""
        if self._noticed:
            self._noticed = False
            self._rested = now + max(REST, TIMES_OF_LOOKING * (now - began))

    def _ask_rested(self, now: float) -> None:
        self._noticed = True
        self.ask(max(now, self._rested))

    def _forget_suspects(self) -> None:
        self._suspects = {}
        self._suspects_due = NEVER
