"""What Marathon's upgrade to 1.5 does to apps: it drops their groups without a word.

The stored definitions lose `ipAddress.groups`, of old versions too, and keep
their versions. So a task that is started anew would be closed to everybody,
while those of its app that run still have what was accepted.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from calico.model import TaskId, TaskRecord, TaskVerdict
from marathon_client.models import App, NetworkForm
from reconciler.core.desired import DesiredTask
from reconciler.core.tasks.declared import our_network
from reconciler.core.tasks.profiles import NetworkPolicy

#: The first version that has no `ipAddress`.
NETWORKS_SINCE = (1, 5)
WITHHELD = (
    "Marathon's upgrade dropped this app's groups: name them in the label `groups` of its "
    "network, or see `holds`"
)

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?(?![\d.])[\w.+-]{0,60}")


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The numbers of a version of Marathon, without what comes behind; None for none."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def is_newer(pinned: str, told: str) -> bool:
    """Whether the version that Marathon tells is above the highest one that was seen."""
    old, new = parse_version(pinned), parse_version(told)
    return new is not None and (old is None or new > old)


def crosses(pinned: str, told: str) -> bool:
    """Whether Marathon has left the versions behind in which apps have `ipAddress`."""
    new = parse_version(told)
    return precedes_networks(pinned) and new is not None and new[:2] >= NETWORKS_SINCE


def precedes_networks(version: str) -> bool:
    """Whether apps of this version have `ipAddress`."""
    parsed = parse_version(version)
    return parsed is not None and parsed[:2] < NETWORKS_SINCE


def grouped_apps(records: Iterable[TaskRecord]) -> frozenset[str]:
    """Apps with a task that was accepted with groups."""
    return frozenset(record.app for record in records if _is_grouped(record))


def is_groupless(app: App, policy: NetworkPolicy) -> bool:
    """Whether an app is on our network in the form of 1.5, and names no groups."""
    net = our_network(app, policy)
    return net is not None and net.form is NetworkForm.NETWORKS and not net.groups


def lost_groups(
    app: App,
    records: Iterable[TaskRecord],
    policy: NetworkPolicy,
    *,
    is_held: bool,
    crosses: bool,
) -> bool:
    """Whether an app has no groups any more, and that may be of the upgrade.

    A version of an app never changes: if a task was accepted with groups under
    the present one, and that names none now, it was Marathon. While the upgrade
    `crosses`, so may be a later version without groups: whoever restarts an app
    writes one. An app that `is_held` for it has lost them until it names some:
    its tasks with groups may have ended.
    """
    if not is_groupless(app, policy):
        return False
    return is_held or any(
        _is_grouped(record) and (crosses or record.app_version >= app.config_version)
        for record in records
    )


def withheld(
    desired: Iterable[DesiredTask], records: Mapping[TaskId, TaskRecord]
) -> tuple[DesiredTask, ...]:
    """The same, but nothing for tasks that were not accepted before; they wait."""
    return tuple(
        each
        if each.record.verdict is TaskVerdict.REFUSED or _was_accepted(records, each)
        else DesiredTask(
            replace(each.record, verdict=TaskVerdict.PENDING, reason=WITHHELD, container="")
        )
        for each in desired
    )


def _is_grouped(record: TaskRecord) -> bool:
    return record.verdict is TaskVerdict.ACCEPTED and bool(record.groups)


def _was_accepted(records: Mapping[TaskId, TaskRecord], desired: DesiredTask) -> bool:
    record = records.get(desired.record.task)
    return record is not None and record.verdict is TaskVerdict.ACCEPTED
