"""A tar.gz of parts, each bounded in time and size; a part that fails is noted inside."""

import io
import json
import logging
import os
import queue
import tarfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from calico.errors import CalicoError
from reconciler.cli.diags.redaction import Redaction
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

FOLDER = "marathon-calico-diags"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds of one part, and of all; what is beyond is cut off."""

    part_bytes: int = 64 << 20
    bytes: int = 512 << 20
    part_seconds: float = 20.0
    seconds: float = 90.0


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of one part; an empty reason is that it is there, whole."""

    part: str
    bytes: int
    seconds: float
    reason: str = ""


class Bundle:
    """Collects parts into an open file; used by one thread.

    A part is made in a thread of its own, which is left behind where it takes
    too long.
    """

    def __init__(
        self,
        file: BinaryIO,
        redaction: Redaction,
        clock: Clock,
        moment: float,
        limits: Limits = Limits(),
    ) -> None:
        """`moment` is the time of the files inside, in seconds of the epoch."""
        self._tar = tarfile.open(fileobj=file, mode="w:gz")  # noqa: SIM115 - closed by close
        self._redaction = redaction
        self._clock = clock
        self._moment = moment
        self._limits = limits
        self._until = clock.monotonic() + limits.seconds
        self._left = limits.bytes
        self.notes: list[Noted] = []

    def take(self, part: str, make: Callable[[], object]) -> object:
        """Have a part made and put it into the file; None if that failed.

        A part is a text, or else whatever JSON can tell.
        """
        began = self._clock.monotonic()
        made, reason = self._made(part, make, min(self._limits.part_seconds, self._until - began))
        size = 0
        if not reason:
            try:
                size, reason = self._put(part, made)
            except (TypeError, ValueError, RecursionError) as error:
                reason = f"it cannot be written: {error}"
        seconds = round(self._clock.monotonic() - began, 2)
        self.notes.append(Noted(part, size, seconds, self._redaction.text(reason)))
        return made

    def note(self, part: str, reason: str) -> None:
        """Say of a part why it is not there."""
        self.notes.append(Noted(part, 0, 0.0, self._redaction.text(reason)))

    def close(self, about: dict[str, object]) -> None:
        """Add what there is, and what not, and why."""
        self._left += self._limits.part_bytes
        self._put("about.json", {**about, "parts": [asdict(each) for each in self.notes]})
        self._tar.close()

    def _made(self, part: str, make: Callable[[], object], within: float) -> tuple[object, str]:
        if within <= 0:
            return None, f"no time was left of {self._limits.seconds:g} s"
        answer: queue.SimpleQueue[tuple[object, str]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answer.put((make(), ""))
            except (CalicoError, OSError, ValueError, RecursionError) as error:
                answer.put((None, str(error) or type(error).__name__))
            except Exception as error:
                log.exception("defect in a part of diagnostics", extra={"part": part})
                answer.put((None, f"{type(error).__name__}: {error}"))

        threading.Thread(target=work, name="part", daemon=True).start()
        try:
            return answer.get(timeout=within)
        except queue.Empty:
            return None, f"it did not end within {within:.0f} s"

    def _put(self, part: str, made: object) -> tuple[int, str]:
        shown = self._redaction.value(made)
        if not isinstance(shown, str):
            shown = json.dumps(shown, indent=1)
        content = shown.encode(errors="backslashreplace")
        room = min(self._limits.part_bytes, self._left)
        whole = len(content)
        content = content[:room]
        member = tarfile.TarInfo(f"{FOLDER}/{part}")
        member.size, member.mtime, member.mode = len(content), self._moment, 0o600
        self._tar.addfile(member, io.BytesIO(content))
        self._left -= len(content)
        return len(content), "" if whole == len(content) else f"cut off, it has {whole} bytes"


def write_file(path: Path, fill: Callable[[BinaryIO], None], *, force: bool) -> None:
    """Make a file whole or not at all, for its owner alone.

    Raises FileExistsError if there is one, unless it is to be replaced.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if force:
            unfinished.replace(path)
        else:
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
