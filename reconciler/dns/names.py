"""The names of one task, and what they stand for; pure.

The forms are those of Mesos-DNS. Marathon names a task by its app's path
backwards, `/star/probe-a` becoming `probe-a.star`. Mesos-DNS makes one label of
it, `probe-a-star`, and serves the form with dots too, for tasks with discovery
information, which all of Marathon's have.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from netaddr import IPAddress

from calico.model import PortOpening, TaskId

#: A domain name as it travels: lengths and labels, in lower case, ended by a zero.
Name = NewType("Name", bytes)

ROOT = Name(b"\0")
LONGEST_LABEL = 63
LONGEST_NAME = 255
DIGEST_LENGTH = 10

#: z-base-32, which Mesos-DNS takes for its hashes.
_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_HYPHENS = str.maketrans("._", "--")
_NO_LABEL = re.compile(r"[^a-z0-9-]")
#: Tasks of one app follow each other, so its forms are remembered.
_REMEMBERED_APPS = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """An A or AAAA record."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record."""

    port: int
    target: Name


@dataclass(frozen=True, slots=True)
class Pointer:
    """A PTR record."""

    target: Name


@dataclass(frozen=True, slots=True)
class Delegate:
    """An NS record."""

    target: Name


Record = Address | Service | Pointer | Delegate
Entry = tuple[Name, Record]


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task that has names: what its app, its endpoint and its host say."""

    task: TaskId
    app: str
    addresses: tuple[IPAddress, ...]
    ports: tuple[PortOpening, ...] = ()
    host_addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Suffixes:
    """What all names of tasks end in, and those of their hosts."""

    tasks: Name
    hosts: Name


def suffixes_of(domain: str, framework: str) -> Suffixes:
    """`marathon.mesos` and `marathon.slave.mesos`, for these two.

    Raises ValueError if nothing would fit before them.
    """
    scheduler = tuple(filter(None, map(label_of, framework.split("."))))
    zone = domain.split(".")
    tasks, hosts = wire_name((*scheduler, *zone)), wire_name((*scheduler, "slave", *zone))
    if tasks is None or hosts is None or len(hosts) > LONGEST_NAME - 2 * (LONGEST_LABEL + 1):
        raise ValueError(f"{framework}.{domain} is too long for names of tasks to end in")
    return Suffixes(tasks, hosts)


def parse_domain(text: str) -> str:
    """A domain in lower case, without a dot at its end; raises ValueError."""
    domain = text.lower().removesuffix(".")
    labels = domain.split(".")
    if not all(each and label_of(each) == each for each in labels) or len(domain) > 100:
        raise ValueError(f"{text!r} is no domain such as mesos or tasks.example.org")
    return domain


def label_of(text: str) -> str:
    """One label of a host name, as Mesos-DNS makes it; empty if nothing of the text remains.

    Dots and underscores become hyphens, other characters are left out, none
    begins or ends with a hyphen.
    """
    kept = _NO_LABEL.sub("", text.lower().translate(_HYPHENS))
    return kept.strip("-")[:LONGEST_LABEL].rstrip("-")


def wire_name(labels: Iterable[str], suffix: Name = ROOT) -> Name | None:
    """The labels and what they end in as one name; None if it is longer than names may be."""
    parts = [each.encode() for each in labels]
    wire = b"".join([bytes((len(each),)) + each for each in parts]) + suffix
    return Name(wire) if len(wire) <= LONGEST_NAME else None


def labels_of(name: Name) -> list[bytes]:
    """The labels of a name, without the root's."""
    labels, at = [], 0
    while name[at]:
        labels.append(bytes(name[at + 1 : at + 1 + name[at]]))
        at += 1 + name[at]
    return labels


def text_name(name: Name) -> str:
    """For people: labels and dots."""
    texts = (each.decode("ascii", "backslashreplace") for each in labels_of(name))
    return ".".join(texts) + "."


def reverse_name(address: IPAddress) -> Name:
    """Where the PTR records of an address are."""
    name = wire_name(str(address.reverse_dns).lower().rstrip(".").split("."))
    assert name is not None, "an address has at most 34 labels"
    return name


def names_of(task: NamedTask, suffixes: Suffixes) -> Iterator[Entry]:
    """Everything that is served of a task; no entry comes twice.

    A name that would be too long is left out.
    """
    own = _own_name(task, suffixes)
    given: dict[Name, None] = {own: None}
    forms = _app_forms(task.app)
    for labels in (*forms, (_task_label(task.task),)):
        name = wire_name(labels, suffixes.tasks)
        if name is not None:
            given[name] = None
    for name in given:
        for address in task.addresses:
            yield name, Address(address)
    for address in task.addresses:
        yield reverse_name(address), Pointer(own)
    yield from _host_entries(task, forms, suffixes)
    yield from _service_entries(task, forms, own, suffixes)


def _own_name(task: NamedTask, suffixes: Suffixes) -> Name:
    """Mesos-DNS's canonical name, which is this one task's: `probe-a-star-<hash>`."""
    name = wire_name((_hashed(label_of(_backwards(task.app)), task.task),), suffixes.tasks)
    assert name is not None, "suffixes leave room for a label"
    return name


def _backwards(app: str) -> str:
    """As Marathon names the app's tasks."""
    return ".".join(each for each in reversed(app.split("/")) if each)


@lru_cache(maxsize=_REMEMBERED_APPS)
def _app_forms(app: str) -> tuple[tuple[str, ...], ...]:
    """`probe-a-star` and `probe-a`, `star`; one of them if they are the same."""
    whole = _backwards(app)
    joined = label_of(whole)
    dotted = tuple(filter(None, map(label_of, whole.split("."))))
    return tuple(dict.fromkeys(each for each in ((joined,), dotted) if each and each[0]))


def _task_label(task: TaskId) -> str:
    """The task id as one label; ends in a hash if it had to be cut."""
    label = label_of(task)
    return label if label and len(task) <= LONGEST_LABEL else _hashed(label, task)


def _hashed(start: str, key: str) -> str:
    digest = _digest(key)
    cut = start[: LONGEST_LABEL - 1 - DIGEST_LENGTH].rstrip("-")
    return f"{cut}-{digest}" if cut else digest


def _digest(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return "".join(_ALPHABET[number >> 5 * each & 31] for each in range(DIGEST_LENGTH))


def _host_entries(
    task: NamedTask, forms: tuple[tuple[str, ...], ...], suffixes: Suffixes
) -> Iterator[Entry]:
    for labels in forms:
        name = wire_name(labels, suffixes.hosts)
        if name is not None:
            for address in dict.fromkeys(task.host_addresses):
                yield name, Address(address)


def _service_entries(
    task: NamedTask, forms: tuple[tuple[str, ...], ...], own: Name, suffixes: Suffixes
) -> Iterator[Entry]:
    given: set[Entry] = set()
    for port in task.ports:
        for labels in _service_names(port, forms):
            name = wire_name(labels, suffixes.tasks)
            if name is not None:
                given.add((name, Service(port.number, own)))
    yield from sorted(given, key=lambda entry: entry[0])


def _service_names(
    port: PortOpening, forms: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[str, ...]]:
    """Of one port: `_app._tcp`, `_port._app._tcp` and, as RFC 2782 has it, `_port._tcp.app`."""
    protocol = f"_{port.protocol}"
    name = label_of(port.name)
    for first, *others in forms:
        app = (_underlined(first), *others)
        yield (*app, protocol)
        if name:
            yield (_underlined(name), *app, protocol)
            yield (_underlined(name), protocol, first, *others)


def _underlined(label: str) -> str:
    return "_" + label[: LONGEST_LABEL - 1].rstrip("-")
