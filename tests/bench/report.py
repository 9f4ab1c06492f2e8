"""How figures are printed: one line each, with what they are held against."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `limit` is what the project promises at most."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"<= {self.limit:g} {self.unit}"
        kept = "" if self.limit is None else ("kept" if self.value <= self.limit else "MISSED")
        return f"{self.name:<58} {self.value:>9.2f} {self.unit:<6} {limit:<14} {kept:<7}{self.note}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the sorted values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
