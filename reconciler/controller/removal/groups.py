"""Apps that lost their groups with Marathon's upgrade: their new tasks wait."""

from collections.abc import Collection, Mapping

from calico.cluster import HoldKind
from calico.model import TaskId, TaskRecord
from marathon_client.models import App, AppList
from reconciler.controller.removal.framework import FrameworkPin
from reconciler.controller.removal.holds import Holds
from reconciler.controller.stored import StoredState
from reconciler.core.desired import DesiredTask
from reconciler.core.removal.marathon_upgrade import (
    grouped_apps,
    is_groupless,
    lost_groups,
    withheld,
)
from reconciler.core.tasks.profiles import NetworkPolicy


class GroupsGuard:
    """Looks for them from the upgrade on until none is left; one thread owns it.

    The version that is pinned stays that of before for so long, so that the
    next controller looks for them too.
    """

    def __init__(self, pin: FrameworkPin, holds: Holds, stored: StoredState) -> None:
        self._pin = pin
        self._holds = holds
        self._stored = stored

    def judge(self, listed: AppList, policy: NetworkPolicy) -> None:
        """Tell which apps wait, by a complete list; raises CalicoError."""
        if self._pin.crosses is None:
            return
        if not self._pin.crosses:
            self._holds.end(HoldKind.GROUPS)
            return
        lost = {app.id for app in listed.apps if self._lost(app, policy)}
        # One that the list lacks, or shows as nonsense, may have lost its own.
        records = (kept.value for kept in self._stored.records.values())
        unseen = (grouped_apps(records) | self._subjects()) - {app.id for app in listed.apps}
        if (lost or unseen) and not self._holds.approves(HoldKind.GROUPS, lost | unseen):
            self._hold(lost, unseen)
            return
        self._pin.accept_version()
        self._holds.end(HoldKind.GROUPS)

    def withhold(
        self,
        app: App,
        desired: Collection[DesiredTask],
        records: Mapping[TaskId, TaskRecord],
        policy: NetworkPolicy,
    ) -> Collection[DesiredTask]:
        """What the tasks of an app should have as long as its groups are missing.

        Held at once, before the last of its tasks with groups is withdrawn: who
        looks after that would see an app that never had any. Raises CalicoError.
        """
        if is_groupless(app, policy):
            # The list that tells of the upgrade may come later than this read.
            self._pin.note_networks()
        if self._pin.crosses is False or not self._lost(app, policy) or self._is_approved(app):
            return desired
        if self._pin.crosses and app.id not in self._subjects():
            self._hold(self._subjects() | {app.id})
        return withheld(desired, records)

    def _hold(self, lost: Collection[str], unseen: Collection[str] = ()) -> None:
        told = [f"dropped the groups of {_apps(lost)}"] if lost else []
        if unseen:
            told.append(f"may have dropped the groups of {_apps(unseen)} that it does not show")
        reason = f"Marathon's upgrade {' and '.join(told)}"
        self._holds.hold(HoldKind.GROUPS, (*lost, *unseen), reason)

    def _lost(self, app: App, policy: NetworkPolicy) -> bool:
        records = self._stored.records_of(app.id).values()
        return lost_groups(
            app,
            records,
            policy,
            is_held=app.id in self._subjects(),
            # Not before Marathon said its version: many an owner takes groups away.
            crosses=bool(self._pin.crosses),
        )

    def _is_approved(self, app: App) -> bool:
        return app.id in self._subjects() and bool(self._holds.approved_plan(HoldKind.GROUPS))

    def _subjects(self) -> frozenset[str]:
        for record in self._holds.records:
            if record.kind is HoldKind.GROUPS:
                return frozenset(record.subjects)
        return frozenset()


def _apps(apps: Collection[str]) -> str:
    return f"{len(apps)} app{'s' * (len(apps) != 1)}"
