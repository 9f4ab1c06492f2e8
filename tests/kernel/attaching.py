"""A container's runtime for tests: asks an agent's socket, and makes namespaces as podman does."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netaddr import IPAddress

from calico.model import ContainerId, EndpointSpec, HostName, ProfileId, TaskId
from calico.names import endpoint_of_task, interface_of_container, mac_of_container
from tests.kernel.namespaces import (
    Namespace,
    enter_network,
    open_own_network,
    unshare_network,
)

#: Longer than the agent takes to say that it cannot.
PATIENCE = 5.0


@dataclass
class Runtime:
    """Speaks to one agent's socket, a connection for each request."""

    socket: Path

    def ask(self, command: str, descriptor: int | None = None, **fields: object) -> dict[str, Any]:
        """The answer to a native command."""
        request = json.dumps({"version": 1, "command": command, **fields}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.socket))
            if descriptor is None:
                client.sendall(request)
            else:
                socket.send_fds(client, [request], [descriptor])
            answer = b""
            while part := client.recv(65536):
                answer += part
        found: dict[str, Any] = json.loads(answer)
        return found

    def add(
        self, container: str, namespace: int, path: str = "", device: str = "eth0"
    ) -> dict[str, Any]:
        """What CNI's ADD comes to: addresses, then the link; the last answer."""
        given = self.ask("allocate", container=container)
        if given["error"] is not None:
            return given
        return self.ask("attach", namespace, container=container, path=path, device=device)

    def delete(self, container: str) -> dict[str, Any]:
        """What CNI's DEL comes to."""
        return self.ask("detach", container=container)


@contextmanager
def opened(namespace: Namespace) -> Iterator[int]:
    """A descriptor of a namespace."""
    descriptor = os.open(f"/proc/{namespace.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass
class Nameless:
    """A network namespace that no process is in: an open descriptor keeps it."""

    descriptor: int = -1

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with this thread inside."""
        before = open_own_network()
        try:
            enter_network(self.descriptor)
            try:
                yield
            finally:
                enter_network(before)
        finally:
            os.close(before)

    def end(self) -> None:
        """Let it go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@contextmanager
def nameless() -> Iterator[Nameless]:
    """Make a namespace as podman does, before there is any process for it."""
    made = Nameless()
    before = open_own_network()
    try:
        unshare_network()
        made.descriptor = open_own_network()
    finally:
        enter_network(before)
        os.close(before)
    try:
        yield made
    finally:
        made.end()


def addresses(answer: dict[str, Any]) -> tuple[IPAddress, ...]:
    """What a container was given; fails with the error if it was not."""
    assert answer["error"] is None, answer
    return tuple(map(IPAddress, answer["addresses"]))


def claim(
    host: HostName, task: str, container: str, given: tuple[IPAddress, ...], *profiles: str
) -> EndpointSpec:
    """The endpoint by which a task claims what its container has."""
    return EndpointSpec(
        endpoint_of_task(host, TaskId(task)),
        interface_of_container(ContainerId(container)),
        mac_of_container(ContainerId(container)),
        given,
        tuple(map(ProfileId, profiles)),
    )
