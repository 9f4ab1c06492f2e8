"""The last good state on disk: what an agent acts on when etcd is down at its start.

Written whole to a new file, flushed to the disk and renamed, so that a reader
finds either the one or the other. A checksum tells a torn or edited file.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from calico.dataplane.changes import NamespaceRef
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.model import BootId, HostName, TaskId
from reconciler.runtime.complaint import Complaint
from reconciler.runtime.inbox import Inbox

log = logging.getLogger(__name__)

VERSION = 2
#: Seconds between two writes, whatever changes meanwhile.
WRITE_EVERY = 1.0
#: Seconds until one that failed is tried again.
RETRY_EVERY = 5.0

REMEDY = (
    "make room, or let the agent write there: begun anew while etcd is away, it would know of no"
    " change since the last that was saved"
)


class StateFileError(Exception):
    """The file cannot be read, or is not what it was written as."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What an agent knew when it last acted on the datastore's own state.

    `attached` are the namespaces of the tasks that were wired, in that boot.
    `doubted` says why what answered since is a former store, empty if it is none.
    `vouched` is whether a leader vouched for the datastore, as far as is known:
    earlier versions did not ask.
    """

    host: HostName
    boot_id: BootId
    listings: Mapping[Key, Listing] = field(default_factory=dict)
    attached: Mapping[TaskId, NamespaceRef] = field(default_factory=dict)
    doubted: str = ""
    vouched: bool = True


@dataclass(frozen=True, slots=True)
class StateWritten:
    """What came of the last write; `problem` is empty if it succeeded."""

    problem: str = ""


class _Listing(msgspec.Struct):
    revision: int
    entries: list[tuple[str, str, int]]


class _Body(msgspec.Struct):
    version: int
    host: str
    boot_id: str
    listings: dict[str, _Listing]
    attached: dict[str, tuple[int, int, int, int]]
    doubted: str = ""
    vouched: bool = True


def render_state(state: SavedState) -> bytes:
    """A line with the checksum, then JSON."""
    body = msgspec.json.encode(
        _Body(
            version=VERSION,
            host=state.host,
            boot_id=state.boot_id,
            listings={
                prefix: _Listing(
                    listing.revision,
                    [(each.key, each.value, each.revision) for each in listing.entries],
                )
                for prefix, listing in state.listings.items()
            },
            attached={
                task: (ref.pid, ref.start_time, ref.inode, ref.cookie)
                for task, ref in state.attached.items()
            },
            doubted=state.doubted,
            vouched=state.vouched,
        )
    )
    return seal(body)


def seal(body: bytes) -> bytes:
    """A line with the checksum, then the body, which is one line."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n"


def unseal(content: bytes) -> bytes:
    """The body of what was sealed; raises StateFileError if it was torn or edited."""
    checksum, _, rest = content.partition(b"\n")
    body = rest.removesuffix(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise StateFileError("its checksum is wrong")
    return body


def parse_state(content: bytes) -> SavedState:
    """What was rendered; raises StateFileError for anything else."""
    body = unseal(content)
    try:
        raw = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StateFileError(f"it is not a state file: {error}") from error
    if raw.version != VERSION:
        raise StateFileError(f"it has version {raw.version}, not {VERSION}")
    return SavedState(
        host=HostName(raw.host),
        boot_id=BootId(raw.boot_id),
        listings={
            Key(prefix): Listing(
                Revision(listing.revision),
                tuple(Stored(Key(k), v, Revision(r)) for k, v, r in listing.entries),
            )
            for prefix, listing in raw.listings.items()
        },
        attached={TaskId(task): NamespaceRef(*ref) for task, ref in raw.attached.items()},
        doubted=raw.doubted,
        vouched=raw.vouched,
    )


def read_state(path: Path, host: HostName) -> SavedState | None:
    """The state that this host's agent saved; None if there is none.

    Raises StateFileError; the kernel then stays as it is and new tasks closed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(error.strerror or str(error)) from error
    state = parse_state(content)
    if state.host != host:
        raise StateFileError(f"it belongs to host {state.host!r}")
    return state


def write_state(path: Path, content: bytes) -> None:
    """Replace the file in one step that survives a crash; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        # Half of it would take what little room is left.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class StateSaver:
    """Writes the newest state it was given, in a thread of its own.

    The disk may be slow or full: neither may delay the kernel.
    """

    def __init__(self, path: Path, tell: Callable[[StateWritten], None]) -> None:
        """`tell` is called when writing begins to fail, fails otherwise, or succeeds again."""
        self._path = path
        self._tell = tell
        self._inbox: Inbox[SavedState] = Inbox()
        self._written = b""
        self._unsaved = Complaint(log, "state not saved", path=str(path))
        self._told = StateWritten()

    def post(self, state: SavedState) -> None:
        """Have a state written soon; it replaces every earlier one."""
        self._inbox.post(state)

    def run(self, stop: threading.Event) -> None:
        """Write until stopped; what could not be written is tried again."""
        newest: SavedState | None = None
        while not stop.is_set():
            waiting = self._inbox.drain(timeout=1.0 if newest is None else 0.0)
            newest = waiting[-1] if waiting else newest
            if newest is None:
                continue
            if self.write(newest):
                newest = None
            stop.wait(WRITE_EVERY if newest is None else RETRY_EVERY)

    def write(self, state: SavedState) -> bool:
        """Write a state unless the file holds it already; a failure is told once."""
        content = render_state(state)
        try:
            if content != self._written:
                write_state(self._path, content)
        except OSError as error:
            why = error.strerror or str(error)
            self._unsaved.tell(why)
            self._note(StateWritten(f"the state cannot be saved to {self._path}: {why}; {REMEDY}"))
            return False
        self._written = content
        self._unsaved.over()
        self._note(StateWritten())
        return True

    def _note(self, written: StateWritten) -> None:
        if written != self._told:
            self._told = written
            self._tell(written)
