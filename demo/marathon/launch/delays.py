"""How long apps whose tasks fail are held back; as in Marathon, known to this run only."""

from __future__ import annotations

from dataclasses import dataclass

from demo.marathon.definitions.pods import Backoff
from demo.mesos.records import AppId

#: Whose task ran for so long after its delay has not failed in its start.
VIABLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Delay:
    seconds: float
    until: float


class Delays:
    """The delay of each app whose last task failed."""

    def __init__(self) -> None:
        self._delays: dict[AppId, _Delay] = {}

    def failed(self, app_id: AppId, backoff: Backoff, now: float) -> None:
        """A task has ended by itself: the next one waits, each time longer than before."""
        before = self._delays.get(app_id)
        seconds = backoff.first
        if before is not None and now < before.until + VIABLE_SECONDS:
            seconds = before.seconds * backoff.factor
        seconds = min(seconds, backoff.longest)
        self._delays[app_id] = _Delay(seconds, now + seconds)

    def until(self, app_id: AppId, now: float) -> float:
        """When the app's next task may start; `now` if nothing holds it back."""
        delay = self._delays.get(app_id)
        return now if delay is None else delay.until

    def forget(self, app_id: AppId) -> None:
        """Nothing holds the app back any more."""
        self._delays.pop(app_id, None)
