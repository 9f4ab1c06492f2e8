"""What changed, and how long it took until everything was as it should be again; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

MOST_ENTRIES = 100
SHOWN_ENTRIES = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, its clock time, and after how many seconds it had settled.

    `subjects` are who must be settled for it to be; None while they are not.
    """

    number: int
    clock: float
    began: float
    kind: str
    text: str
    subjects: frozenset[str]
    settled_after: float | None = None


class Timeline:
    """The newest entries; older ones are forgotten."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._count = 0

    def add(self, kind: str, text: str, subjects: Iterable[str], now: float, clock: float) -> None:
        """Note a change that begins now."""
        self._count += 1
        entry = Entry(
            number=self._count,
            clock=clock,
            began=now,
            kind=kind,
            text=text,
            subjects=frozenset(subjects),
        )
        self._entries = [*self._entries[-MOST_ENTRIES + 1 :], entry]

    def settle(self, unsettled: Collection[frozenset[str]], now: float) -> None:
        """End every open entry whose subjects are in none of what is unsettled.

        What is unsettled is a pair each, an entry about a pair waits for that
        pair, one about a party for all pairs of it.
        """
        self._entries = [
            replace(entry, settled_after=now - entry.began)
            if entry.settled_after is None
            and entry.began < now
            and not any(entry.subjects <= pair for pair in unsettled)
            else entry
            for entry in self._entries
        ]

    def shown(self) -> list[dict[str, object]]:
        """For the page, the newest first."""
        return [
            {
                "number": entry.number,
                "clock": round(entry.clock, 3),
                "kind": entry.kind,
                "text": entry.text,
                "settled": None if entry.settled_after is None else round(entry.settled_after, 1),
            }
            for entry in reversed(self._entries[-SHOWN_ENTRIES:])
        ]
