"""Runs one schedule and tells how it went."""

import logging
from dataclasses import dataclass, replace

from tests.simulation.faults import Fault, Place
from tests.simulation.invariants import Violation
from tests.simulation.schedule import Schedule
from tests.simulation.world import Metrics, World


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `violation` is empty if every promise was kept.

    `faults` are those that happened, so that the run can be had again with
    fewer of them.
    """

    schedule: Schedule
    violation: str
    digest: str
    trace: tuple[str, ...]
    faults: tuple[tuple[Place, Fault], ...]
    steps: int
    operations: int
    seconds: float
    counts: dict[str, int]
    events: int

    @property
    def promise(self) -> str:
        """Which promise is broken: the first word."""
        return self.violation.partition(" ")[0]

    @property
    def explicit(self) -> Schedule:
        """The same run, with its faults named one by one."""
        return replace(self.schedule, faults=self.faults)


class Replayer:
    """Runs schedules one after the other."""

    def __init__(self) -> None:
        self._metrics = Metrics()

    def run(self, schedule: Schedule) -> Outcome:
        """Run one schedule; the same schedule always ends the same."""
        world = World(schedule, self._metrics)
        defects = _Defects()
        root = logging.getLogger()
        violation = ""
        root.addHandler(defects)
        try:
            world.run()
        except Violation as error:
            violation = str(error)
        finally:
            root.removeHandler(defects)
        if defects.found and not violation:
            violation = f"defect: {defects.found[0]}"
        return Outcome(
            schedule=schedule,
            violation=violation,
            digest=world.digest,
            trace=tuple(world.lines),
            faults=tuple(world.hits),
            steps=world.scheduler.steps,
            operations=world.operations,
            seconds=world.scheduler.now(),
            counts=world.counts,
            events=world.events,
        )


class _Defects(logging.Handler):
    """Tracebacks that the product's loops caught: the next turn may hide them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.exc_info:
            formatter = logging.Formatter()
            self.found.append(formatter.formatException(record.exc_info))
