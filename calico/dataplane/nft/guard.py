"""Keeps a host's own ports closed to tasks while our table is missing.

Routes keep tasks from each other then, but what a host delivers to itself asks
no route of ours. So a second, small table drops what comes from a task without
the mark that our table gives to every packet, unless it answers the host. It is
owned by the socket that made it: nobody else can flush or delete it, and it
goes with the agent, whose own table then stands.
"""

import logging
from collections.abc import Mapping

from calico.dataplane.nft.expr import rule, set_mark
from calico.dataplane.nft.library import NftTable
from calico.dataplane.state import Chain, NftSet
from calico.errors import DataplaneError
from calico.model import INTERFACE_PREFIX

log = logging.getLogger(__name__)

GUARD = "marathon-calico-guard"
#: Before our table's own chain, and any that accepts.
PRIORITY = -10
#: The sets of our table that hold the addresses of tasks, by family.
TASK_SETS = {"tasks4": "ip", "tasks6": "ip6"}


class Guard:
    """The second table, made through a library's open socket; used by one thread."""

    def __init__(self, library: NftTable, mark: int) -> None:
        self._library = library
        self._mark = mark
        self._stands: tuple[str, ...] = ()
        self._refused = False

    def follow(self, sets: Mapping[str, NftSet]) -> None:
        """Be up, for the task addresses of our table as it was just seen or made.

        A kernel before Linux 5.12 knows no owner; then there is no guard. What
        is refused is told once and tried again: it may be for a moment only.
        """
        wanted = guard_commands(self._mark, sets)
        if wanted == self._stands:
            return
        try:
            self._library.command("\n".join(wanted))
        except DataplaneError as error:
            if not self._refused:
                log.warning(
                    "host ports are open to tasks while the table is missing",
                    extra={"why": str(error), "needs": "Linux 5.12"},
                )
            self._refused = True
        else:
            self._stands = wanted
            self._refused = False


def gives_mark(chains: Mapping[str, Chain], mark: int) -> bool:
    """Whether our table, as it stands, marks packets so.

    One of an earlier run may give another bit; by ours all would be strangers.
    """
    return any(rule(set_mark(mark)) in each.rules for each in chains.values())


def guard_commands(mark: int, sets: Mapping[str, NftSet]) -> tuple[str, ...]:
    """One transaction that makes the table or changes it, in nftables' own language."""
    chain = f"inet {GUARD} input"
    unmarked = f"meta mark & {mark:#x} == 0"
    answer = "ct direction reply ct state established,related"
    sources = [f'iifname "{INTERFACE_PREFIX}*"']
    for name, family in TASK_SETS.items():
        elements = sorted(map(_words, sets[name].elements)) if name in sets else []
        if elements:
            sources.append(f"{family} saddr {{ {', '.join(elements)} }}")
    return (
        f"add table inet {GUARD} {{ flags owner; }}",
        f"add chain {chain} {{ type filter hook input priority {PRIORITY}; policy accept; }}",
        f"flush chain {chain}",
        *(
            f"add rule {chain} {source} {unmarked} {verdict}"
            for source in sources
            for verdict in (f"{answer} accept", "drop")
        ),
    )


def _words(element: object) -> str:
    match element:
        case ("prefix", first, length):
            return f"{first}/{length}"
        case ("range", first, last):
            return f"{first}-{last}"
        case _:
            return str(element)
