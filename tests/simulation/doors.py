"""The door of one process to the outside: where others go first, and faults happen."""

from collections.abc import Callable

from tests.simulation.faults import CHANGES, WRITES, Fault, FaultKind, Place
from tests.simulation.scheduler import Process, Scheduler


class Door:
    """Counts the operations of one process, over all its lives."""

    def __init__(
        self,
        process: Process,
        scheduler: Scheduler,
        fault_at: Callable[[Place], Fault | None],
        hit: Callable[[Place, Fault], None],
    ) -> None:
        self.process = process
        self._scheduler = scheduler
        self._fault_at = fault_at
        self._hit = hit
        #: So many of each kind there were, by the last character of their places.
        self.counts = {"": 0, WRITES: 0, CHANGES: 0}
        #: Whether faults are drawn at all.
        self.open = False
        self.cut_until = 0.0
        self.lag_until = 0.0

    @property
    def operations(self) -> int:
        """So many there were of all kinds."""
        return sum(self.counts.values())

    def mend(self) -> None:
        """Nothing goes wrong here any more."""
        self.open = False
        self.cut_until = self.lag_until = 0.0

    def step(self, kind: str = "") -> Fault | None:
        """One operation begins; may end the process or stop it, and tells other faults."""
        self._scheduler.give_way()
        if not self.open:
            return None
        self.counts[kind] += 1
        place = Place(f"{self.process.name}{kind}", self.counts[kind])
        fault = self._fault_at(place)
        if fault is None:
            return None
        self._hit(place, fault)
        now = self._scheduler.now()
        match fault.kind:
            case FaultKind.KILL:
                self.end(fault)
            case FaultKind.PAUSE:
                self.process.paused_until = now + fault.seconds
                self._scheduler.give_way()
            case FaultKind.LAG:
                self.lag_until = now + fault.seconds
            case _:
                return fault
        return None

    def end(self, fault: Fault) -> None:
        """The process ends here, and is started again a while later."""
        self.process.kill()
        self.process.start_at = self._scheduler.now() + fault.seconds
        self._scheduler.give_way()
