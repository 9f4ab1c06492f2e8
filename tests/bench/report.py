"""How figures are printed: one line each, with what they are held against."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class Unavailable(Exception):
    """This machine lacks what a figure needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    `limit` is what the project promises at most, `least` what it promises at
    least. `spread` are the smallest and largest of the rounds.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def kept(self) -> bool:
        """Whether every promise holds; a figure without one keeps it."""
        return (self.limit is None or self.value <= self.limit) and (
            self.least is None or self.value >= self.least
        )

    def __str__(self) -> str:
        promises = [f"<= {self.limit:g}"] if self.limit is not None else []
        promises += [f">= {self.least:g}"] if self.least is not None else []
        verdict = ("kept" if self.kept else "MISSED") if promises else ""
        spread = "" if self.spread is None else "({:.2f} to {:.2f})".format(*self.spread)
        promise = " ".join((*promises, self.unit)) if promises else ""
        return (
            f"{self.name:<62} {self.value:>9.3g} {self.unit:<5} {promise:<12} {verdict:<7}{spread}"
        ).rstrip()


@dataclass(frozen=True, slots=True)
class Remark:
    """A line that holds no figure."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Grid:
    """Many figures of one kind, side by side."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]

    def __str__(self) -> str:
        head = f"{self.title:<40}" + "".join(f"{each:>16}" for each in self.columns)
        lines = [
            f"  {name:<38}"
            + "".join(f"{'-' if value is None else f'{value:.2f}':>16}" for value in values)
            for name, values in self.rows
        ]
        return "\n".join([head, *lines])


Line = Figure | Remark | Grid


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the sorted values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    limit: float | None = None,
    least: float | None = None,
) -> Figure:
    """The median of some rounds, and between what it lay."""
    return Figure(name, median(values), unit, limit, least, (min(values), max(values)))
