"""Whether a leader that lives vouches for the store, to an agent that knows no earlier state of it.

An agent with a past tells a backup from the true store by itself. To one that
is new, or has lost its state, both look alike, and addresses that a backup
calls free may be in use on hosts that have not told of them yet. A leader
knows: it gives addresses only once hosts were heard. What a backup says of a
leader proves nothing, but no backup has a leader that goes on renewing.
"""

from dataclasses import dataclass

from calico.cluster import LeaderRecord
from calico.datastore.api import Revision

UNSEEN = Revision(0)
#: Renewals that must be seen. By the answer to the first one a leader whose
#: store was set back under it notices that, and there is no second.
RENEWALS = 2
#: Seconds after which it is a problem of the host that nobody vouches.
TOLD_AFTER = 5.0

UNVOUCHED = (
    "no container gets an address until the leading controller vouches for the datastore,"
    " of which this host knows no earlier state"
)
NOBODY = "no controller leads; start one"
AT_ONCE = "it does within seconds"


@dataclass(frozen=True, slots=True)
class LeaderSeen:
    """Who led at one look, None for nobody; `why` nothing could be seen, empty if it could."""

    record: LeaderRecord | None = None
    revision: Revision = UNSEEN
    why: str = ""

    @property
    def may_vouch(self) -> bool:
        """Whether somebody leads, and does not say that no address is given."""
        standing = self.record.standing if self.record is not None else None
        return self.record is not None and (standing is None or bool(standing.opened))


class Vouching:
    """Judges what is seen of the leader; owned by one thread."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._holder = ""
        self._revision = UNSEEN
        self._renewals = 0
        self._detail = NOBODY
        #: Whether a leader vouched, if only in an earlier run: the agent has a past.
        self.is_given = False

    def restore(self, *, is_given: bool) -> None:
        """Take over from an earlier run."""
        self.is_given = is_given

    def begin_anew(self) -> None:
        """What was seen before may be of another store: the agent lists it anew."""
        self._holder, self._renewals = "", 0

    def handle(self, seen: LeaderSeen, latest: str) -> None:
        """Take a look at the leader in; `latest` names the last takeover that is followed."""
        record = seen.record
        if record is None or record.holder != self._holder or seen.revision < self._revision:
            self._holder, self._renewals = record.holder if record is not None else "", 0
        elif seen.revision > self._revision:
            self._renewals += 1
        self._revision = seen.revision
        standing = record.standing if record is not None else None
        if record is None:
            self._detail = seen.why or NOBODY
        elif standing is not None and not standing.opened:
            self._detail = standing.waits
        else:
            self._detail = AT_ONCE
            # A controller of a version that does not tell is believed as it always was.
            opened = standing is None or standing.opened == latest
            self.is_given |= opened and self._renewals >= RENEWALS

    @property
    def why_not(self) -> str:
        """Why no container gets an address; empty if it does."""
        return "" if self.is_given else f"{UNVOUCHED}: {self._detail}"

    def problem(self, now: float) -> str:
        """What operators are to know of it; empty if nothing, or not yet."""
        return self.why_not if now - self._since >= TOLD_AFTER else ""
