"""Which state of the datastore an agent acts on, and when it does not.

A store that was wiped, restored from a backup or exchanged for another one
answers as readily as the true one. What it says is taken in, but acted on only
while nothing speaks against it; until then the last good state stands.
"""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from calico.addressing.ipam import block_of
from calico.cluster import Takeover
from calico.codec import decode_chain
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.errors import InvalidValue
from calico.keys import BLOCKS, CALICO, CHAIN, CLUSTER_GUID, HOSTS, READY, host_key
from calico.mirror import Mirror, Passages
from calico.model import HostName, Snapshot
from reconciler.agent.attachments.block_writes import BlockWritten
from reconciler.agent.raw_prefix import RawPrefix
from reconciler.core.lineage import adopts, contradiction, divergence, missing_write
from reconciler.runtime.watchfeed import Bookmark, Changed, FeedMessage, Loaded, Unreachable

PREFIXES = (CALICO, BLOCKS, HOSTS)
UNSEEN = Revision(0)
KEPT = (
    "the last good state is kept until the controller has taken over what this host holds,"
    " see `marathon-calico holds`"
)


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
    the newest event among the endpoints, profiles and pools. `guid` and
    `takeover` name the store that was believed last; `is_former` is whether what
    is acted on is of another store, or of another past, than that which answers
    now. Until `is_read`, which it stays, nothing is known of the one that answers;
    that knows this host if it `is_registered`.
    """

    snapshot: Snapshot | None = None
    source: Source = Source.NOTHING
    revision: Revision = UNSEEN
    doubt: str = ""
    unreachable: str = ""
    problems: Mapping[Key, str] = field(default_factory=dict)
    guid: str = ""
    takeover: int = 0
    is_former: bool = False
    is_read: bool = False
    is_registered: bool = False


class Belief:
    """Takes the feeds' messages in and tells what to act on; owned by one thread."""

    def __init__(self, host: HostName) -> None:
        self._host = host
        self._mirror = Mirror()
        self._raw: dict[Key, RawPrefix] = {}
        self._unreachable: dict[Key, str] = {}
        self._good: dict[Key, Revision] = {}
        #: What was believed last, by prefix, where the store was listed anew since.
        self._former: dict[Key, Mapping[Key, Stored]] = {}
        #: Blocks that were written here, and are not told of as of then yet.
        self._written: dict[Key, BlockWritten] = {}
        self._guid = ""
        self._chain: tuple[Takeover, ...] = ()
        #: Also why an earlier run doubted: it is to be found out no more.
        self._went_back = ""
        self._diverged = ""
        self._saved: Snapshot | None = None
        self._view = View()
        self._dirty = False

    def restore(self, listings: Mapping[Key, Listing], doubted: str = "") -> None:
        """Keep an earlier run's last good state, for when the store fails, and its doubt.

        It is not acted on while the store may still answer: the kernel may be
        newer than it.
        """
        mirror = Mirror()
        for prefix, listing in listings.items():
            mirror.load(prefix, listing)
            self._good[prefix] = listing.revision
            self._former[prefix] = _by_key(listing)
        self._guid = _value(self._former.get(CALICO, {}), CLUSTER_GUID)
        self._chain = _chain(self._former.get(CALICO, {}))
        self._went_back = doubted
        self._saved = mirror.snapshot()
        self._dirty = True

    @property
    def latest(self) -> str:
        """The nonce of the last takeover of the store that was believed last; empty for none."""
        return self._chain[-1].nonce if self._chain else ""

    @property
    def doubted(self) -> str:
        """Why a former store answers, if that may be found only once; empty if not."""
        return self._went_back or self._diverged

    @property
    def saved_snapshot(self) -> Snapshot | None:
        """What was restored."""
        return self._saved

    def handle(self, message: FeedMessage | Bookmark | BlockWritten) -> None:
        """Take one message of a feed in, or what this agent wrote."""
        if isinstance(message, Bookmark):
            self._note_bookmark(message)
            return
        if isinstance(message, BlockWritten):
            self._written[message.block] = message
            return
        self._dirty = True
        match message:
            case Loaded(prefix, listing, asked):
                self._unreachable.pop(prefix, None)
                good = self._good.get(prefix, UNSEEN)
                written = (each.revision for each in self._written.values() if each.at < asked)
                if listing.revision < (known := max((good, *written))):
                    self._went_back = (
                        f"the datastore's index went back from {known} to {listing.revision}:"
                        " it was wiped or restored"
                    )
                if prefix in self._raw and prefix in self._good:
                    self._former.setdefault(prefix, self._raw[prefix].believed())
                if prefix in self._good:
                    former = self._former[prefix]
                    self._diverged = divergence(former, good, listing) or self._diverged
                self._raw[prefix] = RawPrefix(listing.revision, listing.revision, _by_key(listing))
                self._mirror.load(prefix, listing)
            case Changed(prefix, event):
                self._raw[prefix].apply(event)
                self._mirror.apply(event)
            case Unreachable(prefix, reason):
                self._unreachable[prefix] = reason

    @property
    def reached(self) -> Mapping[Key, Revision]:
        """The store's index, by prefix, up to which all is known that was believed."""
        return self._good

    def judge(self) -> View:
        """What to act on now, after the messages taken in so far."""
        if self._dirty:
            self._view = self._judged()
            self._dirty = False
        return self._view

    def take_passages(self) -> Passages:
        """Who let addresses go since the last call."""
        return self._mirror.take_passages()

    def listings(self) -> dict[Key, Listing]:
        """What is believed, raw, or was last if a former store answers; empty in any other case."""
        is_believed = self._view.source is Source.DATASTORE and not self._view.doubt
        if not (is_believed or self._view.is_former or self.doubted):
            return {}
        return {
            prefix: Listing(reached, tuple(self.believed(prefix).values()))
            for prefix, reached in self._good.items()
        }

    def former(self) -> dict[Key, Stored]:
        """All as it was believed last, raw."""
        found: dict[Key, Stored] = {}
        for prefix in self._good:
            found.update(self.believed(prefix))
        return found

    @property
    def untold(self) -> Collection[Key]:
        """Blocks that were written here since what is believed was told."""
        return self._written.keys()

    def believed(self, prefix: Key) -> Mapping[Key, Stored]:
        """A prefix as it was believed last, raw; once something was."""
        former = self._former.get(prefix)
        return self._raw[prefix].believed() if former is None else former

    def _note_bookmark(self, bookmark: Bookmark) -> None:
        """Nothing changed: what is believed stays as it is."""
        raw = self._raw[bookmark.prefix]
        raw.advance(bookmark.reached)
        if not self._dirty and self._view.source is Source.DATASTORE and not self._view.doubt:
            self._good[bookmark.prefix] = raw.reached or UNSEEN
        if bookmark.prefix == BLOCKS and self._written:
            # What was written is told of by now, or lost.
            self._dirty = True

    def _judged(self) -> View:
        unreachable = next(iter(self._unreachable.values()), "")
        complete = all(prefix in self._raw for prefix in PREFIXES)
        if complete and self._good:
            blocks = self._raw[BLOCKS]
            written = {key: each.revision for key, each in self._written.items()}
            lost = missing_write(written, blocks.entries, blocks.reached or UNSEEN)
            self._diverged = lost or self._diverged
        why = self._why_former() if complete else ""
        is_adopted = bool(why) and self._is_adopted()
        former = "" if not why or is_adopted else f"{why}; {KEPT}"
        unready = self._not_ready() if complete else ""
        doubt = former if self._went_back and former else unready or former
        if complete and not doubt:
            if is_adopted:
                self._begin_anew()
            self._believe()
            return View(
                self._mirror.snapshot(),
                Source.DATASTORE,
                self._raw[CALICO].revision,
                unreachable=unreachable,
                problems=self._mirror.problems(),
                guid=self._guid,
                takeover=self._takeover,
                is_read=True,
                is_registered=self._is_registered,
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
            guid=self._guid,
            takeover=self._takeover,
            is_former=bool(former),
            is_read=complete,
            is_registered=self._is_registered,
        )

    def _begin_anew(self) -> None:
        """Forget how far the former store was: another may be listed later than the rest."""
        self._written = {}
        for prefix, raw in self._raw.items():
            if prefix not in self._former:
                raw.reached = None

    def _believe(self) -> None:
        entries = self._raw[CALICO].entries
        self._guid = _value(entries, CLUSTER_GUID)
        if CHAIN in self._raw[CALICO].before or not self._good or self._former:
            self._chain = _chain(entries)
        self._good = {prefix: raw.reached or UNSEEN for prefix, raw in self._raw.items()}
        self._went_back = self._diverged = ""
        self._former = {}
        reached = self._good[BLOCKS]
        self._written = {
            key: each for key, each in self._written.items() if each.revision > reached
        }
        for raw in self._raw.values():
            raw.before.clear()

    @property
    def _takeover(self) -> int:
        return self._chain[-1].number if self._chain else 0

    @property
    def _is_registered(self) -> bool:
        hosts = self._raw.get(HOSTS)
        return hosts is not None and host_key(self._host) in hosts.entries

    def _not_ready(self) -> str:
        if _value(self._raw[CALICO].entries, READY).strip() == "true":
            return ""
        return f"{READY} is not true: the datastore is empty or still being filled"

    def _why_former(self) -> str:
        """Why this is not the store that was believed, or an older self of it."""
        return self._went_back or self._other_cluster() or self._diverged or self._other_past()

    def _other_cluster(self) -> str:
        found = _value(self._raw[CALICO].entries, CLUSTER_GUID)
        if not self._guid or found == self._guid:
            return ""
        return (
            f"the datastore is another cluster's: {CLUSTER_GUID} is {found or 'absent'!r},"
            f" not {self._guid!r}"
        )

    def _other_past(self) -> str:
        if not self._chain or (
            CALICO not in self._former and CHAIN not in self._raw[CALICO].before
        ):
            return ""
        entries = self._raw[CALICO].entries
        published = entries[CHAIN].revision if CHAIN in entries else Revision(0)
        return contradiction(self._chain, _chain(entries), published, self._good[CALICO])

    def _is_adopted(self) -> bool:
        """Whether the controller says that it took over what this host told of the former one."""
        raw = self._raw[CALICO]
        if CALICO not in self._former and CLUSTER_GUID not in raw.before:
            # A watch may go on unbroken in another store whose index has caught
            # up. Of that only the news are known; the rest is the former one's.
            return False
        if not adopts(_chain(raw.entries), self._chain, self._guid, self._host):
            return False
        # Blocks are followed apart from endpoints, and may come later.
        before, now = self._believed_snapshot(), self._mirror.snapshot()
        if before is None:
            return True
        blocks = {block_of(each) for spec in now.specs.values() for each in spec.addresses}
        return not (blocks & before.block_hosts.keys()) - now.block_hosts.keys()

    def _believed_snapshot(self) -> Snapshot | None:
        return self._view.snapshot or self._saved


def _chain(entries: Mapping[Key, Stored]) -> tuple[Takeover, ...]:
    try:
        return decode_chain(_value(entries, CHAIN))
    except InvalidValue:
        return ()


def _by_key(listing: Listing | None) -> dict[Key, Stored]:
    return {} if listing is None else {each.key: each for each in listing.entries}


def _value(entries: Mapping[Key, Stored], key: Key) -> str:
    return entries[key].value if key in entries else ""
