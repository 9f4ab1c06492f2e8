"""The agent's socket: requests for networks, one on each connection.

Its own commands are carried out here; those of plugins are handed, as they
were sent, to the translator that is registered under their command.
"""

import logging
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calico.codec.fields import as_int, as_text, parse_object
from calico.errors import InvalidValue
from reconciler.attach.api import (
    ANSWER_WITHIN,
    Attacher,
    AttachError,
    AttachRefused,
    AttachUnavailable,
)
from reconciler.attach.calls.native import VERSION, answer_native, render_error
from reconciler.attach.listening import listening
from reconciler.attach.plugin import LARGEST
from reconciler.attach.refusals import Answered, kind_of
from reconciler.attach.wire import BadRequest, Request, receive, send

log = logging.getLogger(__name__)

#: Requests that are worked on at once; more wait for their turn.
THREADS = 16
#: Characters of an answer that the log repeats.
MOST_TOLD = 500

#: A plugin's request, the Attacher, and the descriptor that came along or -1, to
#: the plugin's exit code and the text that it prints on standard output. The
#: descriptor is closed when it returns. An AttachError that leaves it is told
#: in the form of the native commands, which no plugin prints as is.
Translator = Callable[[Mapping[str, Any], Attacher, int], Answered]

#: Takes a call that came to nothing: who called, of which kind it is, and why.
Refused = Callable[[str, str, str], None]
NATIVE = "native"


def _nobody(caller: str, kind: str, why: str) -> None:
    """It is of no interest."""


class AttachServer:
    """Answers on a socket file from `with` to its end; a client that is slow is cut off.

    The answer to a native command, and to what is no request at all, is one
    line of JSON with a field `error`. The answer to a plugin is its exit code
    on a line, then the text to print.
    """

    def __init__(
        self,
        path: Path,
        attacher: Attacher,
        translators: Mapping[str, Translator],
        threads: int = THREADS,
        within: float = ANSWER_WITHIN,
        refused: Refused = _nobody,
    ) -> None:
        """`within` is how long a client may take to ask, and to take the answer.

        `refused` is told of every call that came to nothing.
        """
        self._refused = refused
        self._path = path
        self._attacher = attacher
        self._translators = translators
        self._slots = threading.Semaphore(threads)
        self._within = within
        self._stopping = threading.Event()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Listen and serve; raises SocketTaken."""
        with ExitStack() as held:
            listener = held.enter_context(listening(self._path))
            thread = threading.Thread(
                target=self._serve, args=(listener,), name="attach", daemon=True
            )
            thread.start()
            held.callback(self._stop, listener, thread)
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def _stop(self, listener: socket.socket, thread: threading.Thread) -> None:
        self._stopping.set()
        with suppress(OSError):
            # Wakes the thread that waits in accept.
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(self._within)

    def _serve(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            if not self._slots.acquire(timeout=self._within):
                continue
            try:
                connection, _ = listener.accept()
            except OSError as error:
                self._slots.release()
                if not self._stopping.is_set():
                    log.warning("connection not accepted", extra={"why": error.strerror})
                    # Too many open files, as a rule: it passes.
                    self._stopping.wait(0.1)
                continue
            try:
                threading.Thread(
                    target=self._answer_and_close, args=(connection,), name="attach", daemon=True
                ).start()
            except RuntimeError as error:
                # The host has no room for a thread: that passes too.
                connection.close()
                self._slots.release()
                log.warning("connection not served", extra={"why": str(error)})

    def _answer_and_close(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with receive(connection, self._within) as request:
                if _has_left(connection):
                    # It was told, or tells its user, that it failed: nothing may come of it now.
                    log.info("client left before its turn")
                    return
                with self._attacher.in_time():
                    answer = self._carry_out(request)
        except BadRequest as error:
            answer = render_error(AttachRefused(str(error)))
        except Exception:
            log.exception("defect in a request")
            answer = render_error(AttachUnavailable("a defect of the agent: see its log"))
        content = answer.encode("utf-8", "replace")
        if len(content) > LARGEST:
            too_large = AttachUnavailable(f"the answer is larger than {LARGEST // 1024} KiB")
            content = render_error(too_large).encode()
        try:
            send(connection, content, self._within)
        except OSError as error:
            # What was done stays done: asked again, the answer is the same.
            log.info("client left without its answer", extra={"why": str(error)})

    def _carry_out(self, request: Request) -> str:
        try:
            fields = parse_object(request.text.decode())
            version = as_int(fields.get("version"), "version")
            command = as_text(fields.get("command"), "command")
        except (InvalidValue, UnicodeDecodeError) as error:
            raise BadRequest(f"it is no request: {error}") from error
        if version != VERSION:
            raise BadRequest(f"version {version} of requests is not known, only {VERSION}")
        translator = self._translators.get(command)
        if translator is None:
            answered = answer_native(fields, self._attacher, request.descriptor)
            if answered.kind:
                self._refused(NATIVE, answered.kind, answered.why)
            return answered.text + "\n"
        try:
            code, text, kind, words = translator(fields, self._attacher, request.descriptor)
        except AttachError as error:
            self._refused(command, kind_of(error), str(error))
            return render_error(error) + "\n"
        if code:
            self._refused(command, kind, words)
            # The runtime tells its user; whoever looks after the host finds it here.
            why = text.strip()[:MOST_TOLD]
            log.warning("call refused", extra={"plugin": command, "why": why})
        return f"{code}\n{text}"


def _has_left(connection: socket.socket) -> bool:
    """Whether nobody is there to take an answer; a client that only sends no more is."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(mask & select.POLLHUP for _, mask in poll.poll(0))
