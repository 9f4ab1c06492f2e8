"""Calls that came to nothing: the runtime tells its user, this tells whoever keeps the host."""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from calico.model import Refusal
from reconciler.attach.api import AttachError, AttachUnavailable, UnknownContainer
from reconciler.runtime.clock import Clock, rfc3339

#: So many are kept, each cut to so many characters.
MOST = 5
LONGEST = 200


class Answered(NamedTuple):
    """What a call is answered; `kind` and `why` are empty unless it came to nothing."""

    code: int
    text: str
    kind: str = ""
    why: str = ""


def kind_of(error: AttachError) -> str:
    """The word for a kind of failure: refused, unavailable or unknown."""
    match error:
        case AttachUnavailable():
            return "unavailable"
        case UnknownContainer():
            return "unknown"
        case _:
            return "refused"


class Refusals:
    """Keeps the last few; usable from any thread."""

    def __init__(self, clock: Clock, count: Callable[[str, str], None]) -> None:
        """`count` is told the caller and the kind of each."""
        self._clock = clock
        self._count = count
        self._lock = threading.Lock()
        self._last: deque[Refusal] = deque(maxlen=MOST)

    def note(self, caller: str, kind: str, why: str) -> None:
        """Keep one, as one line of plain characters."""
        self._count(caller, kind)
        line = " ".join(why.split())
        plain = "".join(each if each.isprintable() else "?" for each in line)[:LONGEST]
        with self._lock:
            self._last.append(Refusal(caller, kind, plain, rfc3339(self._clock.wall())))

    def last(self) -> tuple[Refusal, ...]:
        """The last few, in order."""
        with self._lock:
            return tuple(self._last)
