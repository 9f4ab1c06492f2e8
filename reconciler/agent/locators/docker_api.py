"""What is asked of a Docker engine: HTTP over its UNIX socket, read only."""

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import msgspec

from reconciler.agent.locators.api import TASK_VARIABLE, LocatorUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Seconds within which one question is answered, one about a single container,
#: and all of a conversation.
ANSWER_WITHIN = 2.0
INSPECT_WITHIN = 1.0
CONVERSE_WITHIN = 5.0
#: Seconds without an event after which events are asked for anew.
QUIET_WITHIN = 30.0
LARGEST_ANSWER = 16 * 1024 * 1024
#: What is read here is the same in all versions; an engine that is too new or
#: too old for this one is spoken to in the nearest that it knows.
VERSION = (1, 24)
EVENTS = "events?" + urlencode({"filters": json.dumps({"event": ["start", "die"]})})

_ID = re.compile(r"[0-9a-f]{12,64}")
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_T = TypeVar("_T")


class EngineHangs(LocatorUnavailable):
    """The engine was asked and did not answer in time."""


class ContainerHangs(EngineHangs):
    """The engine did not tell of one container in time; of others it may."""


@dataclass(frozen=True, slots=True)
class DockerContainer:
    """One container as the engine describes it.

    `pid` is 0 while nothing runs in it. `labelled` and `told` are the task that
    its label and its environment name, empty for none.
    """

    name: str
    network: str
    pid: int
    labelled: str = ""
    told: str = ""


class _Version(msgspec.Struct, rename="pascal"):
    api_version: str
    # Engines before 1.13 tell of no lowest one.
    lowest: str = msgspec.field(name="MinAPIVersion", default="1.0")


class _Listed(msgspec.Struct, rename="pascal"):
    id: str


class _State(msgspec.Struct, rename="pascal"):
    pid: int = 0
    running: bool = False


class _Config(msgspec.Struct, rename="pascal"):
    env: list[str] | None = None
    labels: dict[str, str] | None = None


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str


class _Inspected(msgspec.Struct, rename="pascal"):
    name: str
    state: _State
    config: _Config
    host_config: _HostConfig


def parse_container(body: bytes) -> DockerContainer:
    """What `/containers/ID/json` answers; raises msgspec.DecodeError."""
    found = msgspec.json.decode(body, type=_Inspected)
    labels, environment = found.config.labels or {}, found.config.env or []
    values = [
        each.partition("=")[2] for each in environment if each.startswith(f"{TASK_VARIABLE}=")
    ]
    return DockerContainer(
        name=found.name.removeprefix("/"),
        network=found.host_config.network_mode,
        pid=found.state.pid if found.state.running and found.state.pid > 1 else 0,
        labelled=labels.get(TASK_VARIABLE, ""),
        told=values[-1] if values else "",
    )


def parse_ids(body: bytes) -> tuple[str, ...]:
    """The ids that `/containers/json` lists; raises msgspec.DecodeError."""
    listed = msgspec.json.decode(body, type=list[_Listed])
    return tuple(each.id for each in listed if _ID.fullmatch(each.id))


def choose_version(body: bytes) -> str:
    """The version to speak, by what `/version` answers; raises ValueError."""
    found = msgspec.json.decode(body, type=_Version)
    major, minor = min(max(VERSION, _version(found.lowest)), _version(found.api_version))
    return f"v{major}.{minor}"


def _version(text: str) -> tuple[int, int]:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no version")
    return int(match[1]), int(match[2])


class DockerEngine:
    """One engine, by the path of its socket; may be asked from any thread."""

    def __init__(self, path: Path, converse_within: float = CONVERSE_WITHIN) -> None:
        self._path = path
        self._converse_within = converse_within

    def __str__(self) -> str:
        return f"the Docker engine at {self._path}"

    @contextmanager
    def conversation(self) -> "Iterator[Conversation]":
        """Ask several things over one connection."""
        connection = _Connection(self._path)
        try:
            yield Conversation(self._path, connection, self._converse_within)
        finally:
            connection.close()

    def events(self) -> Iterator[None]:
        """Yields once it listens, then whenever containers have started or died.

        Ends after a while without any; raises LocatorUnavailable.
        """
        with self.conversation() as talk:
            yield from talk.events()


class Conversation:
    """Questions over one connection; all raise LocatorUnavailable."""

    def __init__(self, path: Path, connection: "_Connection", within: float) -> None:
        self._path = path
        self._connection = connection
        self._end = time.monotonic() + within
        self._version = ""

    def running(self) -> tuple[str, ...]:
        """The ids of the containers that run."""
        return self._expect("containers/json", parse_ids)

    def inspect(self, container: str) -> DockerContainer | None:
        """What a container is; None if there is none of this id any more.

        Raises ContainerHangs; others may be asked about after that.
        """
        self._greet()
        path = f"containers/{container}/json"
        try:
            status, body = self._ask(path, INSPECT_WITHIN)
        except EngineHangs as error:
            # The answer may come yet: it must not be taken for that to another question.
            self._connection.close()
            if time.monotonic() >= self._end:
                # All of them took long: it is not this one's fault.
                raise
            raise ContainerHangs(
                f"the Docker engine at {self._path} does not tell of container {container[:12]}"
                " in time: look after it"
            ) from error
        return (
            None
            if status == HTTPStatus.NOT_FOUND
            else self._parse(path, status, body, parse_container)
        )

    def events(self) -> Iterator[None]:
        """See DockerEngine."""
        with _explained(self._path):
            response = self._open(EVENTS)
            if response.status != HTTPStatus.OK:
                raise self._not_docker(EVENTS, response.status)
        yield
        while self._has_event(response):
            # Which one it is does not matter: what is so now is looked up.
            yield

    def _has_event(self, response: http.client.HTTPResponse) -> bool:
        self._connection.reads_until = time.monotonic() + QUIET_WITHIN
        with _explained(self._path):
            try:
                some = response.read1(65536)
            except TimeoutError:
                return False
        if not some:
            raise LocatorUnavailable(f"the Docker engine at {self._path} ended its events")
        return True

    def _expect(self, path: str, parse: Callable[[bytes], _T]) -> _T:
        return self._parse(path, *self._ask(path), parse)

    def _parse(self, path: str, status: int, body: bytes, parse: Callable[[bytes], _T]) -> _T:
        if status != HTTPStatus.OK:
            raise self._not_docker(path, status)
        try:
            return parse(body)
        except (ValueError, RecursionError) as error:
            raise self._not_docker(path, "nothing that Docker says") from error

    def _not_docker(self, path: str, answer: object) -> LocatorUnavailable:
        page = path.partition("?")[0]
        return LocatorUnavailable(
            f"what listens at {self._path} answers {answer} to /{page}:"
            " name Docker's socket by --docker-socket"
        )

    def _ask(self, path: str, within: float = ANSWER_WITHIN) -> tuple[int, bytes]:
        with _explained(self._path):
            response = self._open(path, within)
            body = response.read(LARGEST_ANSWER + 1)
        if len(body) > LARGEST_ANSWER:
            raise LocatorUnavailable(f"the Docker engine at {self._path} answers without end")
        return response.status, body

    def _greet(self) -> None:
        """Learn which version to speak."""
        if not self._version:
            self._version = self._expect("version", choose_version) + "/"

    def _open(self, path: str, within: float = ANSWER_WITHIN) -> http.client.HTTPResponse:
        if path != "version":
            self._greet()
        self._connection.reads_until = min(time.monotonic() + within, self._end)
        self._connection.request("GET", f"/{self._version}{path}")
        return self._connection.getresponse()


class _Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket, whose reads end at a moment, however busily bytes drip."""

    reads_until = 0.0

    def __init__(self, path: Path) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        """Connect, within the time that reads have."""
        made = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.left = self._left
        try:
            made.settimeout(self._left())
            made.connect(str(self._path))
        except OSError:
            made.close()
            raise
        self.sock = made

    def _left(self) -> float:
        left = self.reads_until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Socket(socket.socket):
    left: Callable[[], float] = staticmethod(lambda: ANSWER_WITHIN)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        # What http.client reads by; without this each byte would have the whole time.
        self.settimeout(self.left())
        return super().recv_into(buffer, nbytes, flags)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What goes wrong, as one sentence that names the socket and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        raise LocatorUnavailable(
            f"there is no {path}: start Docker, or name its socket by --docker-socket"
        ) from error
    except PermissionError as error:
        raise LocatorUnavailable(
            f"no right to use {path}: run the agent as root, or in the group docker"
        ) from error
    except ConnectionRefusedError as error:
        raise LocatorUnavailable(
            f"nobody listens at {path}: start Docker, or name its socket by --docker-socket"
        ) from error
    except (TimeoutError, BlockingIOError) as error:
        raise EngineHangs(
            f"the Docker engine at {path} does not answer in time: look after dockerd"
        ) from error
    except http.client.HTTPException as error:
        raise LocatorUnavailable(
            f"what listens at {path} gives no whole answer:"
            " look after dockerd, or name its socket by --docker-socket"
        ) from error
    except OSError as error:
        raise LocatorUnavailable(
            f"{path} cannot be used ({error.strerror or error}):"
            " look after dockerd, or name its socket by --docker-socket"
        ) from error
