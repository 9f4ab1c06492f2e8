"""Apps whose own addresses rest while their next tasks already ask for them.

A task that a plugin is to attach asks before it runs: it waits for a moment, is
refused and comes again, and no event tells of it. So such an app is looked at
for a while, and whoever waits counts for as long as a look is fresh.
"""

from collections.abc import Callable, Collection, Mapping

from netaddr import IPAddress

from reconciler.controller.addresses.grace_periods import GracePeriods

#: Seconds for which an app whose address rests is looked at, and a look counts.
LOOK_FOR = 30.0
FRESH_FOR = 1.5


class Vacancies:
    """Who asks for what; one thread owns it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._apps: frozenset[str] = frozenset()
        self._since: GracePeriods[str] = GracePeriods(now)
        self._awaited: dict[str, tuple[float, frozenset[IPAddress]]] = {}

    def keep(self, apps: Collection[str]) -> None:
        """These are the apps whose own addresses rest."""
        self._apps = frozenset(apps)
        self._since.keep(self._apps)
        self._awaited = {app: each for app, each in self._awaited.items() if app in self._apps}

    def saw(self, app: str, awaited: frozenset[IPAddress]) -> None:
        """A fresh look shows a starting task that waits for these, or none that does."""
        if app in self._apps:
            self._awaited[app] = (self._now(), awaited)

    def apps(self) -> frozenset[str]:
        """Apps to look at again soon."""
        return frozenset(app for app in self._apps if self._since.lasts(app, LOOK_FOR))

    def awaited(self) -> Mapping[str, frozenset[IPAddress]]:
        """What tasks wait for by now, by their apps."""
        now = self._now()
        return {
            app: addresses
            for app, (seen, addresses) in self._awaited.items()
            if addresses and now - seen < FRESH_FOR
        }
