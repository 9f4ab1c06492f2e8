"""What people, machines and Marathon do while the product runs.

What an action does to depends on what there is by then: `pick` is a number
from 0 up to 1 that chooses among it.
"""

from dataclasses import dataclass

from tests.simulation.twins.marathon import LieKind


@dataclass(frozen=True, slots=True)
class Fate:
    """How often a plugin is asked to attach a container, and to take it away in the end.

    The namespace may be gone before the latter, as when no word comes.
    """

    adds: int = 1
    dels: int = 1
    unmounts_first: bool = False


@dataclass(frozen=True, slots=True)
class Attach:
    """A task starts whose container a plugin attaches before."""

    app: str
    pick: float
    fate: Fate


@dataclass(frozen=True, slots=True)
class Start:
    """A task of an app starts; over so many tasks another ends first."""

    app: str
    pick: float


@dataclass(frozen=True, slots=True)
class End:
    """A task ends, and Marathon knows."""

    pick: float


@dataclass(frozen=True, slots=True)
class Again:
    """A task ends, and another of its app takes its place on the same host."""

    pick: float


@dataclass(frozen=True, slots=True)
class Regroup:
    """A new version of an app asks for other groups; old tasks keep theirs."""

    app: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A host is cut off; Marathon gives its tasks up, but they live on."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FindAgain:
    """A host that was cut off is back; Marathon names again what lives on there."""

    host: str


@dataclass(frozen=True, slots=True)
class Kill:
    """A process ends by SIGKILL and is started again later."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Terminate:
    """A process is told to end by SIGTERM, and is started again so many seconds later."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A process is stopped by SIGSTOP for a while."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A process does not reach the datastore for a while."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Lag:
    """News from the datastore reach a process late for a while."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Lie:
    """Marathon answers with 200 and something else than the truth."""

    kind: LieKind
    seconds: float


@dataclass(frozen=True, slots=True)
class Darken:
    """Marathon lists nothing while the agents of a host are cut off from etcd."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NewLeader:
    """Another Marathon leads; all event streams end and begin."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Marathon is upgraded past 1.5, which drops the groups of every app without a word."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """A host starts anew: all its tasks end, and what its kernel held is gone."""

    host: str
    keeps_state: bool


@dataclass(frozen=True, slots=True)
class Meddle:
    """Another program takes one of our links away."""

    host: str
    pick: float


@dataclass(frozen=True, slots=True)
class Erase:
    """An operator takes a part of a profile away."""

    pick: float


@dataclass(frozen=True, slots=True)
class PowerOff:
    """A host is off, and comes back as another machine without what it was told."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Forget:
    """An operator declares a host gone whose agent is silent."""

    host: str


@dataclass(frozen=True, slots=True)
class Approve:
    """An operator lets go what is held and is right, as it is at the moment."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """An operator has the store taken for what it is, whoever is silent."""


@dataclass(frozen=True, slots=True)
class Blind:
    """A host's agent cannot find out where tasks are."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Restore:
    """etcd is restored from a backup; it is emptied if there is none of that age."""

    seconds_old: float


Action = (
    Start
    | Attach
    | End
    | Again
    | Regroup
    | GiveUp
    | FindAgain
    | Kill
    | Terminate
    | Pause
    | Cut
    | Lag
    | Lie
    | Darken
    | NewLeader
    | Upgrade
    | Reboot
    | Meddle
    | Erase
    | PowerOff
    | Forget
    | Approve
    | Adopt
    | Blind
    | Restore
)
