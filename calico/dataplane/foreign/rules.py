"""Whether other programs' firewalls let pass what hosts forward for tasks: pure.

A packet that our table accepts still has to pass every other chain at the
forward hook. What those say is judged for the interfaces alone, and only what
is certain is reported: that nothing, or nothing but special cases, of what
comes from or goes to tasks passes.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from calico.model import INTERFACE_PREFIX

#: What Felix calls its chains.
FELIX_CHAINS = ("cali-", "felix-")
#: Docker leaves this one to operators, and never changes it.
OPERATORS_CHAIN = "DOCKER-USER"
#: Some interface of a task that no rule names by itself.
_TASK = f"{INTERFACE_PREFIX}-of-any-task"
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """A condition on an interface; a name that ends in an asterisk is a prefix."""

    names: tuple[str, ...]
    negated: bool = False

    def holds(self, interface: str) -> bool:
        """Whether it is met by an interface."""
        found = any(
            interface.startswith(name[:-1]) if name.endswith("*") else interface == name
            for name in self.names
        )
        return found is not self.negated


class Act(enum.Enum):
    """What a rule does with the packets that it is about; CONTINUE leaves them to the next."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"
    CONTINUE = "continue"


class Scope(enum.Enum):
    """What a rule asks for beside interfaces.

    SOME are conditions on addresses or marks, which tasks as a whole may meet.
    NARROW are those that much of what tasks send does not meet, such as a port
    or the state of a connection.
    """

    ALL = 0
    SOME = 1
    NARROW = 2


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """One rule; `target` is the chain to JUMP or GOTO."""

    act: Act = Act.CONTINUE
    target: str = ""
    inputs: tuple[InterfaceMatch, ...] = ()
    outputs: tuple[InterfaceMatch, ...] = ()
    scope: Scope = Scope.ALL

    def concerns(self, iifname: str, oifname: str) -> bool:
        """Whether a packet between two interfaces may meet it."""
        return all(each.holds(iifname) for each in self.inputs) and all(
            each.holds(oifname) for each in self.outputs
        )


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """One table of another program: its chains, and the policies of those that forward.

    `tool` is the command by which it is changed, of iptables' family or nft.
    """

    tool: str
    family: str
    name: str
    chains: Mapping[str, tuple[ForeignRule, ...]]
    forwarding: Mapping[str, Act] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignRules:
    """What other programs filter by: tables that forward, and the names of all chains of Felix."""

    tables: tuple[ForeignTable, ...] = ()
    felix: tuple[str, ...] = ()


def find_obstacles(
    foreign: ForeignRules, underlay: str, versions: Collection[int]
) -> tuple[str, ...]:
    """What drops packets of tasks with addresses of these versions, with the remedies."""
    drops = tuple(
        _sentence(table, chain)
        for table in foreign.tables
        for chain, policy in table.forwarding.items()
        if _versions(table) & set(versions) and _is_closed(table, chain, policy, underlay)
    )
    return (*drops, felix_at_work(foreign.felix)) if foreign.felix else drops


def felix_chains(names: Iterable[str]) -> tuple[str, ...]:
    """Those chains that Felix would have made."""
    return tuple(sorted({name for name in names if name.startswith(FELIX_CHAINS)}))


def felix_at_work(chains: Sequence[str]) -> str:
    """Why Felix's chains are in the way, and what helps."""
    named = ", ".join((*chains[:3], *(("...",) if len(chains) > 3 else ())))
    return (
        f"Calico's Felix has chains on this host ({named}), and it drops what it does not know:"
        " stop it and remove its chains, or restart the host without it"
    )


def _is_closed(table: ForeignTable, chain: str, policy: Act, underlay: str) -> bool:
    for way in ((_TASK, underlay), (underlay, _TASK), (_TASK, _TASK)):
        end, unsure = _walk(table, chain, way, _DEEPEST)
        if (policy if end is Act.CONTINUE else end) is Act.DROP and not unsure:
            return True
    return False


def _walk(table: ForeignTable, chain: str, way: tuple[str, str], depth: int) -> tuple[Act, bool]:
    """What a chain does with a packet: ACCEPT, DROP or CONTINUE; whether it may accept before."""
    unsure = depth == 0
    for rule in table.chains.get(chain, ()) if depth else ():
        if rule.scope is Scope.NARROW or not rule.concerns(*way):
            continue
        end = rule.act
        if end in (Act.JUMP, Act.GOTO):
            end, doubt = _walk(table, rule.target, way, depth - 1)
            unsure = unsure or doubt
        if rule.scope is Scope.SOME:
            unsure = unsure or end is Act.ACCEPT
        elif end in (Act.ACCEPT, Act.DROP):
            return end, unsure
        elif rule.act in (Act.RETURN, Act.GOTO):
            break
    return Act.CONTINUE, unsure


def _versions(table: ForeignTable) -> frozenset[int]:
    return frozenset({"ip": (4,), "ip6": (6,)}.get(table.family, (4, 6)))


def _sentence(table: ForeignTable, chain: str) -> str:
    return (
        f"{table.tool} drops what this host forwards for tasks"
        f" (table {table.family} {table.name}, chain {chain}); let it pass: {_remedy(table, chain)}"
    )


def _remedy(table: ForeignTable, chain: str) -> str:
    if table.tool == "nft":
        place = f"nft insert rule {table.family} {table.name} {chain}"
        name = f'"{INTERFACE_PREFIX}*"'
        return f"{place} iifname {name} accept; {place} oifname {name} accept"
    place = f"{table.tool} -I {OPERATORS_CHAIN if OPERATORS_CHAIN in table.chains else chain}"
    name = f"{INTERFACE_PREFIX}+"
    return f"{place} -i {name} -j ACCEPT; {place} -o {name} -j ACCEPT"
