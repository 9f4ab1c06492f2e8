"""What a name server is told by its flags, and how their texts are parsed."""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netaddr import IPNetwork

from calico.datastore.api import Datastore
from calico.errors import InvalidValue
from calico.iptext import parse_address
from reconciler.dns.names import label_of
from reconciler.runtime.listener import ListenAddress, parse_listen

PORT = 53
#: As Mesos-DNS and Marathon have them unless they are told otherwise.
DOMAIN, FRAMEWORK = "mesos", "marathon"
LISTEN_DNS = ListenAddress("", PORT)
LISTEN = ListenAddress("", 9403)


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """One name server, as its flags describe it.

    `open_datastore` gives every thread a client of its own. `resolvers` None
    means the machine's own, `allow` None this machine, the tasks and their hosts.
    `forwards` know names of the domain that are not of tasks of ours.
    """

    open_datastore: Callable[[], Datastore]
    listen_dns: ListenAddress = LISTEN_DNS
    domain: str = DOMAIN
    framework: str = FRAMEWORK
    resolvers: tuple[ListenAddress, ...] | None = None
    forwards: tuple[ListenAddress, ...] = ()
    allow: tuple[IPNetwork, ...] | None = None
    listen: ListenAddress = LISTEN


def parse_listen_dns(text: str) -> ListenAddress:
    """Where questions come to: HOST must be an address; raises ValueError."""
    address = parse_listen(text, PORT)
    if address.host:
        try:
            parse_address(address.host)
        except InvalidValue as error:
            raise ValueError(
                f"{text!r}: {address.host} is no address; write it as 127.0.0.1:{address.port}"
            ) from error
    return address


def parse_resolver(text: str) -> ListenAddress:
    """`IP`, `IP:PORT` or `[IPv6]:PORT`, port 53 without one; raises ValueError."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return ListenAddress(str(parse_address(bare)), PORT)
    except InvalidValue:
        pass
    try:
        address = parse_listen(text, PORT)
        host = str(parse_address(address.host))
    except (InvalidValue, ValueError) as error:
        raise ValueError(f"{text!r} is no address of a name server such as 10.0.0.2") from error
    if not address.port:
        raise ValueError(f"{text!r}: a name server has no port 0; the usual one is {PORT}")
    return ListenAddress(host, address.port)


def parse_framework(text: str) -> str:
    """The name by which Marathon registers with Mesos; raises ValueError."""
    if not label_of(text.replace(".", "")):
        raise ValueError(f"{text!r} leaves nothing of a name such as {FRAMEWORK}")
    return text


def resolvers_of(
    lines: Iterable[str], own: Callable[[ListenAddress], bool]
) -> tuple[ListenAddress, ...]:
    """The first name server of a resolv.conf that is not this one; none if there is none."""
    for line in lines:
        word, *values = line.split()[:2] or [""]
        if word == "nameserver" and values:
            try:
                found = ListenAddress(str(parse_address(values[0].partition("%")[0])), PORT)
            except InvalidValue:
                continue
            if not own(found):
                return (found,)
    return ()


def is_own(listening: ListenAddress) -> Callable[[ListenAddress], bool]:
    """Tells whether a question sent somewhere would come back to this server."""

    def own(resolver: ListenAddress) -> bool:
        if resolver.port != listening.port:
            return False
        if listening.host:
            return listening.host == resolver.host
        return _is_local(resolver.host)

    return own


def _is_local(host: str) -> bool:
    """Whether it is an address of this machine: then, and only then, it can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
