"""Collects the profiles of apps that nothing has referred to for long."""

import logging
import re
from contextlib import suppress

from calico.datastore.api import Datastore
from calico.errors import Conflict, DatastoreUnavailable
from calico.identifiers import APP_PREFIX
from calico.keys import (
    ENDPOINTS,
    ProfileLeaf,
    profile_dir,
    profile_key,
)
from calico.model import ProfileId
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.profiles import NetworkPolicy, app_profile
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Seconds for which nothing refers to a profile before it is collected: an app
#: that is rolled back, or comes again, finds its own.
UNREFERENCED_FOR = 3600.0
#: Seconds between two looks, and how many are collected at each.
LOOK_EVERY = 60.0
MOST_AT_ONCE = 20
#: Who reads a profile between two deletes still finds its rules.
_LEAVES: tuple[ProfileLeaf, ...] = ("labels", "tags", "rules")

#: How we name them; an operator's own that begins alike is left alone.
_OURS = re.compile(rf"{APP_PREFIX}[a-z0-9.-]{{1,60}}-[0-9a-f]{{12}}")
_NAMED = re.compile(rf"{APP_PREFIX}[a-z0-9.-]+")


class ProfileSweeper:
    """Knows since when nothing refers to each; one thread owns it.

    One of another id than an app's is never touched: groups are operators'.
    """

    def __init__(
        self,
        datastore: Datastore,
        stored: StoredState,
        clock: Clock,
        metrics: ControllerMetrics,
    ) -> None:
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._metrics = metrics
        self._since: dict[ProfileId, float] = {}
        self._next_look = clock.monotonic()

    def sweep(self, policy: NetworkPolicy, *, is_held: bool) -> None:
        """Look if it is time; raises DatastoreError.

        While anything `is_held` nothing is taken away: what refers to a profile
        may come back.
        """
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        self._since = {each: self._since.get(each, now) for each in self._unreferenced()}
        due = [each for each, since in self._since.items() if now - since >= UNREFERENCED_FOR]
        if not due or is_held:
            return
        used = self._named() | self._wanted(policy)
        for profile in used.intersection(due):
            del self._since[profile]
        for profile in sorted(set(due) - used)[:MOST_AT_ONCE]:
            # Who changes it meanwhile has a reason; the next look tells.
            with suppress(Conflict):
                self._collect(profile)

    def _unreferenced(self) -> frozenset[ProfileId]:
        """By the last complete read."""
        specs = self._stored.specs.values()
        referenced = {profile for kept in specs for profile in kept.value.profiles}
        ours = (each for each in self._stored.leaves if _OURS.fullmatch(each))
        return frozenset(ours) - referenced

    def _named(self) -> frozenset[ProfileId]:
        """What any endpoint names by now, of any orchestrator, readable or not."""
        entries = self._datastore.list(ENDPOINTS).entries
        return frozenset(
            ProfileId(name) for stored in entries for name in _NAMED.findall(stored.value)
        )

    def _wanted(self, policy: NetworkPolicy) -> frozenset[ProfileId]:
        """What tasks with a record have, or are about to have."""
        records = self._stored.records.values()
        return frozenset(app_profile(kept.value, policy).id for kept in records)

    def _collect(self, profile: ProfileId) -> None:
        leaves = self._stored.leaves[profile]
        for leaf in _LEAVES:
            if leaf in leaves:
                # A later attempt goes on where this one ends.
                key = profile_key(profile, leaf)
                try:
                    self._datastore.delete(key, expect=leaves[leaf])
                except DatastoreUnavailable:
                    self._stored.unanswered[key] = leaves[leaf]
                    raise
                del leaves[leaf]
        del self._stored.leaves[profile], self._since[profile]
        self._stored.profiles.pop(profile, None)
        self._metrics.profiles.inc()
        log.info("profile collected", extra={"profile": profile})
        with suppress(Conflict, DatastoreUnavailable):
            self._datastore.delete(profile_dir(profile))
