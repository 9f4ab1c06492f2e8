"""Containers that a real podman starts through our plugin; real agent, real packets."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from netaddr import IPAddress

from tests.kernel.attached_host import CLOSED_PORT, PORT, AttachedHost, links, running_host
from tests.kernel.podman import IMAGE, NETWORK, Podman, require_podman, running_podman
from tests.kernel.probes import connects, listening

ANY = IPAddress("0.0.0.0")
TAKEN = ("--ip", "10.9.0.77", IMAGE, "/bin/busybox", "true")


@pytest.fixture
def host(host_network: None, tmp_path: Path) -> Iterator[AttachedHost]:
    require_podman()
    with running_host(tmp_path) as made:
        yield made


@pytest.fixture
def podman(host: AttachedHost) -> Iterator[Podman]:
    with running_podman(host.socket) as made:
        yield made


def test_containers_reach_their_group_alone_and_nobody_before_they_are_known(
    host: AttachedHost, podman: Podman
) -> None:
    # given three containers that no endpoint names yet
    a, b, c = (podman.run(name) for name in "abc")
    ids = {name: podman.id_of(name) for name in "abc"}
    (at_a,), (at_b,), (at_c,) = (host.given_to(ids[name]) for name in "abc")
    with ExitStack() as stack:
        for place in (a, b, c):
            for port in (PORT, CLOSED_PORT):
                stack.enter_context(listening(place, ANY, port))
        assert not connects(a, at_b, PORT)
        assert not connects(c, at_a, PORT)

        # when two are of one group and one of another
        specs = [
            host.open("task.a", ids["a"], "red"),
            host.open("task.b", ids["b"], "red"),
            host.open("task.c", ids["c"], "blue"),
        ]
        host.machine.wait_up("task.a", "task.b", "task.c")

        assert connects(a, at_b, PORT)
        assert connects(b, at_a, PORT)
        assert not connects(a, at_b, CLOSED_PORT)
        assert not connects(c, at_a, PORT)
        assert not connects(a, at_c, PORT)

    # when they end
    for name in "abc":
        podman.remove(name)
    for spec in specs:
        host.withdraw(spec)

    host.expect_nothing_left()


def test_an_address_that_is_asked_for_is_given_once(host: AttachedHost, podman: Podman) -> None:
    podman.run("first", "--ip", "10.9.0.77")
    assert host.given_to(podman.id_of("first")) == (IPAddress("10.9.0.77"),)
    assert podman.inspect("first", "{{.NetworkSettings.Networks.calico.IPAddress}}") == "10.9.0.77"

    refused = podman.attempt("run", "--name", "second", "--network", NETWORK, *TAKEN)

    assert refused.returncode != 0
    assert "address 10.9.0.77" in refused.stderr
    assert len(host.held()) == len(links()) == 1
    for name in ("second", "first"):
        podman.remove(name)
    host.expect_nothing_left()


def test_without_the_agent_nothing_starts_and_everything_can_be_removed(
    host: AttachedHost, podman: Podman
) -> None:
    podman.run("first")
    host.machine.kill("agent")

    refused = podman.attempt("run", "--name", "second", "--network", NETWORK, IMAGE, "true")

    assert refused.returncode != 0
    assert "no agent answers" in refused.stderr
    for name in ("second", "first"):
        podman.remove(name)
    # What went meanwhile the agent takes away when it is back.
    host.start()
    host.machine.wait_for("the address back", lambda: host.held() == {} and not links())
    host.expect_nothing_left()
