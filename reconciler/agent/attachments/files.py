"""What one container was given before a task ran, and the file that it is kept in.

A file is written after its addresses were given and before anything is made
in the kernel, so that whatever there is has a file, or is swept away.
"""

import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from netaddr import EUI, IPAddress

from calico.dataplane.changes import NamespaceRef
from calico.errors import InvalidName, InvalidValue
from calico.identifiers import check_container
from calico.iptext import parse_address
from calico.model import BootId, ContainerId, HandleId, InterfaceName
from calico.names import handle_of_container, interface_of_container, mac_of_container
from reconciler.agent.state_file import StateFileError, seal, unseal, write_state
from reconciler.attach.api import AttachUnavailable

log = logging.getLogger(__name__)

VERSION = 1
SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class KeptAttachment:
    """An attachment as its agent keeps it; without a `device` it has addresses and no link.

    What others are told of one that no task has claimed is `calico.model.Attachment`.
    `namespace` is where the link is, or is to be. Once a task has `claimed` it,
    it is wired only as long as that task has an endpoint: its addresses may be
    given to another one after that. A container that was `detached` has
    nothing any more: it is remembered so that nothing is made for it again on
    the word of an endpoint that is still to be withdrawn. `runs` is the task
    that it is for by the word of Mesos when it asked for its addresses; empty
    if that was not known in time.
    """

    container: ContainerId
    addresses: tuple[IPAddress, ...]
    since: str
    device: str = ""
    namespace: NamespaceRef | None = None
    known_as: str = ""
    claimed: bool = False
    detached: bool = False
    runs: str = ""

    @property
    def interface(self) -> InterfaceName:
        """The host's side of its link."""
        return interface_of_container(self.container)

    @property
    def mesos_id(self) -> ContainerId:
        """What Mesos calls the container: net-modules draws an id of its own for it."""
        return ContainerId(self.known_as) if self.known_as else self.container

    @property
    def mac(self) -> EUI:
        """The MAC address inside."""
        return mac_of_container(self.container)

    @property
    def handle(self) -> HandleId:
        """What its addresses are held by until a task claims them."""
        return handle_of_container(self.container)

    def without_link(self) -> "KeptAttachment":
        """The same before it was attached."""
        return replace(self, device="", namespace=None, known_as="")


class _Body(msgspec.Struct):
    version: int
    boot_id: str
    container: str
    addresses: list[str]
    since: str
    device: str
    namespace: tuple[int, int, int, int, str] | None
    known_as: str
    claimed: bool
    detached: bool
    runs: str = ""


class AttachmentFiles:
    """One file for each container; any thread may write another container's."""

    def __init__(self, directory: Path, boot_id: BootId) -> None:
        self._directory = directory
        self._boot_id = boot_id

    def read(self) -> tuple[KeptAttachment, ...]:
        """What an earlier run left; a reboot has detached them all.

        A file that is torn says nothing: what it was about is swept away.
        """
        found: list[KeptAttachment] = []
        for path in sorted(self._directory.glob("*")):
            if path.suffix != SUFFIX:
                # Left by a write that was interrupted.
                path.unlink(missing_ok=True)
                continue
            try:
                attachment, boot_id = parse_attachment(unseal(path.read_bytes()))
            except (OSError, StateFileError) as error:
                log.warning("attachment not read", extra={"path": str(path), "why": str(error)})
                with suppress(OSError):
                    path.unlink()
                continue
            found.append(
                attachment if boot_id == self._boot_id else replace(attachment, detached=True)
            )
        return tuple(found)

    def write(self, attachment: KeptAttachment) -> None:
        """Keep what a container has; raises OSError."""
        write_state(
            self._path(attachment.container), seal(render_attachment(attachment, self._boot_id))
        )

    def remove(self, container: ContainerId) -> None:
        """Keep nothing of a container; raises OSError."""
        self._path(container).unlink(missing_ok=True)

    def _path(self, container: ContainerId) -> Path:
        return self._directory / (container + SUFFIX)


class AttachmentBook:
    """What every container has, in memory and in its file; any thread may read all of it.

    One container's is written by one thread at a time.
    """

    def __init__(self, files: AttachmentFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._attachments: dict[ContainerId, KeptAttachment] = {}

    def restore(self, attachments: Iterable[KeptAttachment]) -> None:
        """Take over what an earlier run left; before anything else."""
        self._attachments = {attachment.container: attachment for attachment in attachments}

    def get(self, container: ContainerId) -> KeptAttachment | None:
        """What one container has, also if it was detached."""
        with self._lock:
            return self._attachments.get(container)

    def all(self) -> tuple[KeptAttachment, ...]:
        """What every container has, those that were detached too."""
        with self._lock:
            return tuple(self._attachments.values())

    def keep(self, attachment: KeptAttachment) -> None:
        """Remember what a container has; its file stays as it is."""
        with self._lock:
            self._attachments[attachment.container] = attachment

    def write(self, attachment: KeptAttachment) -> None:
        """Write a container's file; raises AttachUnavailable."""
        try:
            self._files.write(attachment)
        except OSError as error:
            why = error.strerror or str(error)
            raise AttachUnavailable(f"the state directory cannot be written: {why}") from error

    def drop(self, container: ContainerId) -> None:
        """Remember nothing of a container, and have no file of it."""
        with suppress(OSError):
            self._files.remove(container)
        with self._lock:
            self._attachments.pop(container, None)


def render_attachment(attachment: KeptAttachment, boot_id: BootId) -> bytes:
    """One line of JSON."""
    ref = attachment.namespace
    return msgspec.json.encode(
        _Body(
            VERSION,
            boot_id,
            attachment.container,
            [str(each) for each in attachment.addresses],
            attachment.since,
            attachment.device,
            None if ref is None else (ref.pid, ref.start_time, ref.inode, ref.cookie, ref.path),
            attachment.known_as,
            attachment.claimed,
            attachment.detached,
            attachment.runs,
        )
    )


def parse_attachment(body: bytes) -> tuple[KeptAttachment, BootId]:
    """What was rendered, and in which boot; raises StateFileError."""
    try:
        raw = msgspec.json.decode(body, type=_Body)
        if raw.version != VERSION:
            raise StateFileError(f"it has version {raw.version}, not {VERSION}")
        attachment = KeptAttachment(
            check_container(raw.container),
            _addresses(raw.addresses),
            raw.since,
            raw.device,
            None if raw.namespace is None else NamespaceRef(*raw.namespace),
            raw.known_as,
            raw.claimed,
            raw.detached,
            raw.runs,
        )
    except (msgspec.DecodeError, InvalidName, InvalidValue) as error:
        raise StateFileError(f"it is no attachment: {error}") from error
    return attachment, BootId(raw.boot_id)


def _addresses(texts: Iterable[str]) -> tuple[IPAddress, ...]:
    return tuple(map(parse_address, texts))
