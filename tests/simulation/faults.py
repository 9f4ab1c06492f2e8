"""What goes wrong at single operations: the n-th of a process, counted from its first."""

import enum
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class FaultKind(enum.Enum):
    """KILL and PAUSE are for any operation, the others for requests only.

    UNSENT never arrives; LOST is done, but the answer does not arrive; LATE
    arrives when nobody waits for it any more; LAG keeps the news of a process
    back for a while. After END it is done, and its process ends before it hears
    of it. STALE is what was true a while ago, where something may be old: else
    it is UNSENT.
    """

    KILL = "kill"
    PAUSE = "pause"
    UNSENT = "unsent"
    LOST = "lost"
    LATE = "late"
    LAG = "lag"
    END = "end"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and how long it lasts."""

    kind: FaultKind
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One operation of one process, however often it was started anew.

    Writes are counted apart, under the process' name and `!`: there are few of
    them, and most that can go wrong goes wrong there. Changes of a kernel are
    counted under the name and `#`.
    """

    process: str
    operation: int


def render_fault(place: Place, fault: Fault) -> str:
    """A fault in one word, as the command line takes it."""
    return f"{place.process}:{place.operation}:{fault.kind.value}:{fault.seconds:g}"


def parse_fault(text: str) -> tuple[Place, Fault]:
    """What was rendered; raises ValueError."""
    process, operation, kind, seconds = text.split(":")
    return Place(process, int(operation)), Fault(FaultKind(kind), float(seconds))


#: How often, of so many operations, and how long.
RATES: tuple[tuple[FaultKind, float, tuple[float, ...]], ...] = (
    (FaultKind.KILL, 0.002, (1.0, 5.0, 30.0)),
    (FaultKind.PAUSE, 0.002, (1.0, 6.0, 12.0, 20.0, 60.0, 200.0)),
    (FaultKind.UNSENT, 0.003, (0.0,)),
    (FaultKind.LOST, 0.008, (0.0,)),
    (FaultKind.LATE, 0.006, (0.5, 0.5, 4.0, 4.0, 12.0, 12.0, 60.0, 60.0, 140.0, 300.0)),
    (FaultKind.LAG, 0.001, (2.0, 20.0, 90.0)),
)


#: Of writes more fail.
WRITES = "!"
CHANGES = "#"
AT_WRITES = 6


class DrawnFaults:
    """Faults by chance, the same for the same seed whatever else happens."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: dict[str, tuple[Iterator[tuple[int, Fault]], tuple[int, Fault]]] = {}

    def at(self, place: Place) -> Fault | None:
        """What goes wrong there; operations of a process are asked for in order."""
        known = self._drawn.get(place.process)
        if known is None:
            draws = self._draw(place.process)
            known = self._drawn[place.process] = (draws, next(draws))
        draws, (operation, fault) = known
        while operation < place.operation:
            operation, fault = next(draws)
            self._drawn[place.process] = (draws, (operation, fault))
        return fault if operation == place.operation else None

    def _draw(self, process: str) -> Iterator[tuple[int, Fault]]:
        chance = random.Random(f"{self._seed} {process}")
        often = AT_WRITES if process.endswith((WRITES, CHANGES)) else 1
        rates = [rate * often for _, rate, _ in RATES]
        operation = 0
        while True:
            operation += 1 + int(chance.expovariate(sum(rates)))
            ((kind, _, durations),) = chance.choices(RATES, rates)
            yield operation, Fault(kind, chance.choice(durations))


class ChosenFaults:
    """Exactly these faults."""

    def __init__(self, faults: Iterable[tuple[Place, Fault]]) -> None:
        self._faults = dict(faults)

    def at(self, place: Place) -> Fault | None:
        """What goes wrong there."""
        return self._faults.get(place)
