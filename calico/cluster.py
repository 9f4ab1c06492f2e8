"""The values that this project keeps about a cluster as a whole.

They live below `/marathon-calico/v1`, beside the tasks and hosts of `model`.
"""

import enum
from dataclasses import dataclass, field

from netaddr import IPNetwork

from calico.datastore.api import Key
from calico.model import BootId, HostName

SCHEMA = 1
"""The layout of this project's keys; a controller refuses another one."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """One takeover of the lease, by which a store is told from its older self.

    A store that was restored from a backup lacks the latest takeovers, or has
    others of the same number. `adopts` are the ClusterGUIDs of the stores whose
    state an operator, or all agents, had this one take over, and `hosts` those
    whose holdings were taken over. `revision` is the one at which it was
    published, 0 for the newest one and where that is not known.
    """

    number: int
    nonce: str
    adopts: tuple[str, ...] = ()
    hosts: tuple[HostName, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """What is pinned for the cluster, under `/marathon-calico/v1/cluster`.

    `framework` is Marathon's Mesos framework id and `marathon` the highest
    version of it that was seen, both empty until the first answer. `chain` has
    the latest takeovers, oldest first.
    """

    uuid: str
    framework: str = ""
    marathon: str = ""
    allow_from: tuple[IPNetwork, ...] = ()
    chain: tuple[Takeover, ...] = ()
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a leader gives addresses.

    `opened` is the nonce of the takeover in whose store it does, empty while it
    does not; `waits` says why it does not, or what else it cannot do.
    """

    opened: str = ""
    waits: str = ""


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """Who leads, under `/marathon-calico/v1/leader`, as the lease's last renewal told it.

    `since` is RFC 3339. `standing` is None of a controller of a version that
    does not tell.
    """

    holder: str
    since: str = ""
    standing: Standing | None = None


class HoldKind(enum.Enum):
    """Why something waits for an operator's word."""

    TASKS = "tasks"
    """More tasks vanished from Marathon's list than is believed without evidence."""
    FRAMEWORK = "framework"
    """Marathon answers under another framework id than the pinned one."""
    GROUPS = "groups"
    """Marathon's upgrade dropped the groups of apps that run with groups."""
    STORE = "store"
    """etcd is empty, restored or replaced, and not all hosts have told what they hold."""


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """What waits, under `/marathon-calico/v1/hold/<kind>`.

    `plan` names exactly this content; `approved` is the plan that an operator
    approved, which counts only while it is this one. `subjects` are task ids,
    app ids, a framework id or host names, by kind. `since` is RFC 3339.
    """

    kind: HoldKind
    plan: str
    reason: str
    subjects: tuple[str, ...] = ()
    since: str = ""
    approved: str = ""


@dataclass(frozen=True, slots=True)
class ObjectionRecord:
    """What a host holds of another store than answers, under `/marathon-calico/v1/held/<host>`.

    `guid` and `takeover` are those of the store that the agent last believed.
    `entries` are keys and values as that store had them, for the endpoints and
    attachments of this host alone: specs, leaves of their profiles, pools and
    blocks, of which those hold nothing else; and whose Marathon's tasks they are.
    `hosts` are all that were registered: any of them may hold an address that is
    not to be given.
    """

    host: HostName
    boot_id: BootId
    guid: str
    takeover: int
    entries: tuple[tuple[Key, str], ...] = field(default=())
    hosts: tuple[HostName, ...] = ()
