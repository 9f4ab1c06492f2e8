"""Asks agents what their kernels hold; the commands do without where none answers.

Nothing here takes longer than a few seconds, whatever the other end does, and
why an agent could not be asked is an answer too, with what would help.
"""

import http.client
import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
import msgspec
from netaddr import AddrFormatError, IPAddress

from calico.model import BootId, HostName, HostRecord
from reconciler.agent.reporting.registration import read_boot_id
from reconciler.agent.settings import LISTEN
from reconciler.cli.reading.cluster import Cluster
from reconciler.core.kernels.host_page import HostPage
from reconciler.core.kernels.task_page import TaskPage
from reconciler.core.kernels.verdict import KernelVerdict
from reconciler.core.reaching.reach import Packet
from reconciler.runtime.clock import SYSTEM_CLOCK
from reconciler.runtime.listener import parse_listen

Command = TypeVar("Command", bound=Callable[..., Any])
Told = TypeVar("Told")

#: Seconds for all questions together. An agent takes up to 2.5 for an answer.
WITHIN = 5.0
CONNECT_WITHIN = 2.0
AT_ONCE = 32
LARGEST_ANSWER = 16 << 20
ETCD_ALONE = "--no-kernel asks etcd alone"


@dataclass(frozen=True, slots=True)
class NotTold:
    """Why nothing is known of a kernel, and what would help."""

    reason: str
    remedy: str = ETCD_ALONE

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True, slots=True)
class Question:
    """One page of one host's agent."""

    host: HostName
    path: str


Answers = Mapping[Question, bytes | NotTold]


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the agents told; a host that was not asked is in none of these."""

    hosts: Mapping[HostName, HostPage | NotTold] = field(default_factory=dict)
    tasks: Mapping[tuple[HostName, str], TaskPage | NotTold] = field(default_factory=dict)
    verdicts: Mapping[HostName, KernelVerdict | NotTold] = field(default_factory=dict)


#: Etcd alone was asked.
NOT_ASKED = Kernels()


def kernel_option(command: Command) -> Command:
    """Give a command `--kernel/--no-kernel` as the argument `kernel`."""
    return click.option(
        "--kernel/--no-kernel",
        default=True,
        show_default=True,
        help="Whether agents are asked what their kernels hold.",
    )(command)


def ask_hosts(cluster: Cluster, hosts: Iterable[HostName]) -> Kernels:
    """Each host's kernel as a whole."""
    asked = {host: Question(host, "/kernel") for host in hosts}
    answers = ask_agents(cluster, asked.values())
    return Kernels(
        hosts={host: _read(host, answers[each], HostPage) for host, each in asked.items()}
    )


def ask_task(cluster: Cluster, host: HostName, task: str) -> Kernels:
    """One task's network in its host's kernel."""
    asked = Question(host, f"/kernel/tasks/{quote(task, safe='')}")
    answer = ask_agents(cluster, [asked])[asked]
    return Kernels(tasks={(host, task): _read(host, answer, TaskPage)})


def ask_verdicts(cluster: Cluster, hosts: Iterable[HostName], packet: Packet) -> Kernels:
    """What each of some hosts does with the first packet of a connection."""
    query = {
        "source": packet.source,
        "destination": packet.destination,
        "protocol": packet.protocol,
    }
    if packet.destination_port is not None:
        query["port"] = packet.destination_port
    path = f"/kernel/verdict?{urlencode(query)}"
    asked = {host: Question(host, path) for host in hosts}
    answers = ask_agents(cluster, asked.values())
    return Kernels(
        verdicts={host: _read(host, answers[each], KernelVerdict) for host, each in asked.items()}
    )


def ask_agents(cluster: Cluster, questions: Iterable[Question]) -> Answers:
    """Ask all at once, and wait for no more than WITHIN seconds."""
    questions = tuple(questions)
    found: dict[Question, bytes | NotTold] = {}
    waiting: queue.SimpleQueue[tuple[Question, str, int]] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[Question, bytes | NotTold]] = queue.SimpleQueue()
    asked, boot_id = 0, own_boot_id()
    for each in questions:
        place = place_of(cluster.snapshot.hosts.get(each.host), boot_id)
        if isinstance(place, NotTold):
            found[each] = place
        else:
            waiting.put((each, *place))
            asked += 1

    def work() -> None:
        while True:
            try:
                question, address, port = waiting.get_nowait()
            except queue.Empty:
                return
            answered.put((question, _get(address, port, question.path)))

    for _ in range(min(asked, AT_ONCE)):
        threading.Thread(target=work, name="ask", daemon=True).start()
    _collect(answered, found, asked)
    late = NotTold(
        f"its agent did not answer within {WITHIN:g} s",
        f"see how it fares on its host; {ETCD_ALONE}",
    )
    return {each: found.get(each, late) for each in questions}


def place_of(record: HostRecord | None, boot_id: BootId | None) -> tuple[str, int] | NotTold:
    """Where a host's agent serves its pages; on this machine that may be loopback."""
    if record is None:
        return NotTold("no agent of ours is registered there", "")
    if record.forgotten:
        return NotTold("the host is forgotten", "")
    if not record.listen:
        return NotTold(
            "its agent does not say where it serves its pages",
            f"it is of an older version, update it; {ETCD_ALONE}",
        )
    try:
        listen = parse_listen(record.listen, usual=LISTEN.port)
    except ValueError as error:
        return NotTold(f"its agent registered a place that is none: {error}")
    if not listen.host or listen.host in ("0.0.0.0", "::"):
        return str(record.address), listen.port
    if _is_loopback(listen.host) and record.boot_id != boot_id:
        return NotTold(
            f"its agent serves its pages at {listen} only",
            f"run this on that host, or start its agent with --listen :{listen.port}; {ETCD_ALONE}",
        )
    return listen.host, listen.port


def own_boot_id() -> BootId | None:
    """That of this machine; None where it has none."""
    try:
        return read_boot_id()
    except OSError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return IPAddress(host).is_loopback()
    except (AddrFormatError, ValueError):
        return host == "localhost"


def _collect(
    answered: "queue.SimpleQueue[tuple[Question, bytes | NotTold]]",
    found: dict[Question, bytes | NotTold],
    count: int,
) -> None:
    until = SYSTEM_CLOCK.monotonic() + WITHIN
    while count and (left := until - SYSTEM_CLOCK.monotonic()) > 0:
        try:
            question, answer = answered.get(timeout=left)
        except queue.Empty:
            return
        found[question] = answer
        count -= 1


def _get(address: str, port: int, path: str) -> bytes | NotTold:
    """The body of a page; whoever stalls is left to the deadline of all."""
    # http.client heeds no proxy of the environment and follows nothing.
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_WITHIN)
    try:
        connection.connect()
        connection.sock.settimeout(WITHIN)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(LARGEST_ANSWER)
        status = response.status
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return NotTold(
            f"its agent at {address}:{port} cannot be asked: {why}",
            f"see that it runs and that this port is open from here; {ETCD_ALONE}",
        )
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        return NotTold(f"its agent at {address}:{port} does not tell: {_reason(body, status)}")
    return body


def _reason(body: bytes, status: int) -> str:
    try:
        told = json.loads(body)
        return str(told["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"it answers {status}"


def _read(host: HostName, answer: bytes | NotTold, kind: type[Told]) -> Told | NotTold:
    if isinstance(answer, NotTold):
        return answer
    try:
        told = msgspec.json.decode(answer)
        teller = told.get("host") if isinstance(told, dict) else None
        if teller != host:
            return NotTold(f"the agent of {teller!r} answers in its place")
        return msgspec.convert(told, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return NotTold(f"its agent answers what is not understood: {error}")
