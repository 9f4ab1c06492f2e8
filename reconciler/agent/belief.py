"""Which state of the datastore an agent acts on, and when it does not.

A store that was wiped, restored from a backup or exchanged for another one
answers as readily as the true one. What it says is taken in, but acted on only
while nothing speaks against it; until then the last good state stands.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored, WatchEvent
from calico.keys import BLOCKS, CALICO, CLUSTER_GUID, HOSTS, READY
from calico.mirror import Mirror
from calico.model import Snapshot
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable

PREFIXES = (CALICO, BLOCKS, HOSTS)
UNSEEN = Revision(0)


class Source(enum.Enum):
    """Where the state comes from that is acted on."""

    NOTHING = "nothing"
    FILE = "file"
    DATASTORE = "datastore"


@dataclass(frozen=True, slots=True)
class View:
    """What an agent may act on; `snapshot` is None while there is nothing.

    `doubt` says why the datastore's newest state is not acted on, `unreachable`
    why there is none; both are empty when all is well. `revision` is that of
    the newest event among the endpoints, profiles and pools.
    """

    snapshot: Snapshot | None = None
    source: Source = Source.NOTHING
    revision: Revision = UNSEEN
    doubt: str = ""
    unreachable: str = ""
    problems: Mapping[Key, str] = field(default_factory=dict)


@dataclass
class _Raw:
    """A prefix as the store tells it, kept to be written to the state file."""

    revision: Revision
    entries: dict[Key, Stored] = field(default_factory=dict)

    def apply(self, event: WatchEvent) -> None:
        match event:
            case Put(stored):
                self.entries[stored.key] = stored
                self.revision = max(self.revision, stored.revision)
            case Removed(key, revision):
                if self.entries.pop(key, None) is None:
                    below = key + "/"
                    self.entries = {
                        k: v for k, v in self.entries.items() if not k.startswith(below)
                    }
                self.revision = max(self.revision, revision)


class Belief:
    """Takes the feeds' messages in and tells what to act on; owned by one thread."""

    def __init__(self) -> None:
        self._mirror = Mirror()
        self._raw: dict[Key, _Raw] = {}
        self._unreachable: dict[Key, str] = {}
        self._good: dict[Key, Revision] = {}
        self._cluster = ""
        self._went_back = ""
        self._saved: Snapshot | None = None
        self._view = View()
        self._dirty = False

    def restore(self, listings: Mapping[Key, Listing]) -> None:
        """Keep an earlier run's last good state, for when the store fails.

        It is not acted on while the store may still answer: the kernel may be
        newer than it.
        """
        mirror = Mirror()
        for prefix, listing in listings.items():
            mirror.load(prefix, listing)
            self._good[prefix] = listing.revision
        self._cluster = _value(_by_key(listings.get(CALICO)), CLUSTER_GUID)
        self._saved = mirror.snapshot()

    @property
    def saved_snapshot(self) -> Snapshot | None:
        """What was restored."""
        return self._saved

    def handle(self, message: FeedMessage) -> None:
        """Take one message of a feed in."""
        self._dirty = True
        match message:
            case Loaded(prefix, listing):
                self._unreachable.pop(prefix, None)
                good = self._good.get(prefix, UNSEEN)
                if listing.revision < good:
                    self._went_back = (
                        f"the datastore's index went back from {good} to {listing.revision}:"
                        " it was wiped or restored; the last good state is kept"
                        " until the agent is restarted with an empty state directory"
                    )
                self._raw[prefix] = _Raw(listing.revision, _by_key(listing))
                self._mirror.load(prefix, listing)
            case Changed(prefix, event):
                self._raw[prefix].apply(event)
                self._mirror.apply(event)
            case Unreachable(prefix, reason):
                self._unreachable[prefix] = reason

    def judge(self) -> View:
        """What to act on now, after the messages taken in so far."""
        if self._dirty:
            self._view = self._judged()
            self._dirty = False
        return self._view

    def listings(self) -> dict[Key, Listing]:
        """The state that is acted on, raw; empty if it is not the datastore's newest."""
        if self._view.source is not Source.DATASTORE or self._view.doubt:
            return {}
        return {
            prefix: Listing(raw.revision, tuple(raw.entries.values()))
            for prefix, raw in self._raw.items()
        }

    def _judged(self) -> View:
        unreachable = next(iter(self._unreachable.values()), "")
        complete = all(prefix in self._raw for prefix in PREFIXES)
        doubt = self._doubt() if complete else ""
        if complete and not doubt:
            self._cluster = self._cluster_id()
            self._good = {prefix: raw.revision for prefix, raw in self._raw.items()}
            return View(
                self._mirror.snapshot(),
                Source.DATASTORE,
                self._raw[CALICO].revision,
                unreachable=unreachable,
                problems=self._mirror.problems(),
            )
        before = self._view
        if before.source is Source.NOTHING and self._saved is not None and (doubt or unreachable):
            before = View(self._saved, Source.FILE, self._good.get(CALICO, UNSEEN))
        return View(
            snapshot=before.snapshot,
            source=before.source,
            revision=before.revision,
            doubt=doubt,
            unreachable=unreachable,
            problems=before.problems,
        )

    def _doubt(self) -> str:
        if self._went_back:
            return self._went_back
        if _value(self._raw[CALICO].entries, READY).strip() != "true":
            return f"{READY} is not true: the datastore is empty or still being filled"
        found = self._cluster_id()
        if self._cluster and found != self._cluster:
            return (
                f"the datastore is another cluster's: {CLUSTER_GUID} is {found or 'absent'!r},"
                f" not {self._cluster!r}; the last good state is kept"
                " until the agent is restarted with an empty state directory"
            )
        return ""

    def _cluster_id(self) -> str:
        return _value(self._raw[CALICO].entries, CLUSTER_GUID)


def _by_key(listing: Listing | None) -> dict[Key, Stored]:
    return {} if listing is None else {each.key: each for each in listing.entries}


def _value(entries: Mapping[Key, Stored], key: Key) -> str:
    return entries[key].value if key in entries else ""
