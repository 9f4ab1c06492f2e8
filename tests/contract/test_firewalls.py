"""What is read of other programs' filters: the kernel's, and those told to its twin."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from calico.dataplane.api import Firewalls
from calico.dataplane.foreign.firewalls import KernelFirewalls
from calico.dataplane.foreign.rules import (
    Act,
    ForeignRule,
    ForeignRules,
    ForeignTable,
    InterfaceMatch,
)
from calico.dataplane.memory import MemoryFirewalls
from tests.kernel.namespaces import fresh_network
from tests.kernel.test_links import run

#: One table in both forms: commands for nft, and what they come to.
COMMANDS = (
    "add table inet other",
    "add chain inet other way { type filter hook forward priority 0; policy drop; }",
    "add chain inet other user",
    "add rule inet other way iifname eth7 counter accept",
    "add rule inet other way jump user",
)
TABLE = ForeignTable(
    "nft",
    "inet",
    "other",
    {
        "way": (
            ForeignRule(Act.ACCEPT, inputs=(InterfaceMatch(("eth7",)),)),
            ForeignRule(Act.JUMP, "user"),
        ),
        "user": (),
    },
    {"way": Act.DROP},
)


@dataclass(frozen=True)
class World:
    """A host and the other program on it."""

    firewalls: Firewalls
    install: Callable[[], object]
    install_felix: Callable[[], object]


@pytest.fixture(params=["memory", "kernel"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as stack:
        made = _memory_world() if request.param == "memory" else _kernel_world(stack)
        made.firewalls.open()
        stack.callback(made.firewalls.close)
        yield made


def _memory_world() -> World:
    firewalls = MemoryFirewalls()

    def install(rules: ForeignRules) -> None:
        firewalls.rules = rules

    return World(
        firewalls,
        lambda: install(ForeignRules((TABLE,))),
        lambda: install(ForeignRules(felix=("cali-FORWARD",))),
    )


def _kernel_world(stack: ExitStack) -> World:
    try:
        stack.enter_context(fresh_network())
    except PermissionError:
        pytest.skip("no right to make network namespaces")

    def install_felix() -> None:
        run("nft", "add table ip filter")
        run("nft", "add chain ip filter cali-FORWARD")

    return World(
        KernelFirewalls(), lambda: [run("nft", command) for command in COMMANDS], install_felix
    )


def test_a_host_alone_has_none(world: World) -> None:
    assert world.firewalls.read() == ForeignRules()


def test_a_table_that_forwards_is_seen_as_soon_as_it_is_there(world: World) -> None:
    world.firewalls.read()
    world.install()
    assert world.firewalls.read() == ForeignRules((TABLE,))
    assert world.firewalls.read() == ForeignRules((TABLE,))


def test_felix_is_seen_by_its_chains(world: World) -> None:
    world.install_felix()
    assert world.firewalls.read() == ForeignRules(felix=("cali-FORWARD",))
