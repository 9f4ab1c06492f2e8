"""Keeps the agents' app at one instance for each Mesos agent; there is no other way to say it.

Marathon knows no "one on every host": it needs a number, which changes with
the cluster. A thread of the leading controller looks and scales.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol, assert_never

from marathon_client.errors import MarathonError
from marathon_client.models import AppId
from marathon_client.scaling import AppScale
from reconciler.controller.metrics import ControllerMetrics
from reconciler.core.scaling import AgentsApp, Keep, Memory, Scale, Seen, decide
from reconciler.runtime.clock import Clock
from reconciler.runtime.complaint import Complaint

log = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_EVERY = 10.0


class Cluster(Protocol):
    """What the scaler asks Marathon and Mesos; every call may raise MarathonError."""

    def app(self, app_id: AppId) -> AppScale | None:
        """The app's scale; None if there is no such app."""
        ...

    def agents(self) -> int:
        """How many Mesos agents there are; 0 if nobody knows of any."""
        ...

    def scale(self, app_id: AppId, instances: int) -> bool:
        """Ask for that many instances; False if a deployment is in the way."""
        ...


class AgentsScaler:
    """Looks and scales; used by one thread."""

    def __init__(
        self,
        app_id: AppId,
        cluster: Cluster,
        leads: Callable[[], bool],
        clock: Clock,
        metrics: ControllerMetrics,
    ) -> None:
        self._app_id = app_id
        self._cluster = cluster
        self._leads = leads
        self._clock = clock
        self._metrics = metrics
        self._memory = Memory()
        self._left_alone = Complaint(log, "agents' app left alone", app=app_id)

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop, or until another controller leads."""
        while not stop.is_set() and self._leads():
            self.look()
            stop.wait(LOOK_EVERY)

    def look(self) -> None:
        """One look, and what follows from it; an error is told once and changes nothing."""
        try:
            seen = self._see()
            decision, memory = decide(seen, self._memory, self._clock.monotonic())
            match decision:
                case Keep(reason):
                    self._memory = memory
                    self._left_alone.tell(reason, logging.INFO)
                case Scale(instances):
                    if not self._leads():
                        return
                    # A deployment that began meanwhile is no error: the next look decides anew.
                    if self._cluster.scale(self._app_id, instances):
                        self._memory = memory
                        self._note(seen, instances)
                case _:
                    assert_never(decision)
        except MarathonError as error:
            # Whatever was seen before is not without a gap any more.
            self._memory = Memory(changed_at=self._memory.changed_at)
            self._metrics.agents.set(float("nan"))
            self._left_alone.tell(str(error))

    def _see(self) -> Seen:
        app = self._cluster.app(self._app_id)
        agents = self._cluster.agents()
        self._metrics.agents.set(agents)
        return Seen(
            agents or None, None if app is None else AgentsApp(app.instances, app.deploying)
        )

    def _note(self, seen: Seen, instances: int) -> None:
        before = seen.app.instances if seen.app else 0
        self._metrics.scalings.labels("up" if instances > before else "down").inc()
        log.info(
            "agents' app scaled",
            extra={"app": self._app_id, "instances": instances, "before": before},
        )
        self._left_alone.over()
