"""A decision of the rules in an operator's words, with what would change it."""

from collections.abc import Mapping
from dataclasses import dataclass

from calico.closing import Direction, policy_reason
from calico.model import (
    PROTOCOLS,
    Action,
    HostFlags,
    HostName,
    PortRange,
    Rule,
    Snapshot,
)
from reconciler.cli.judging.parties import Side
from reconciler.cli.printing.render import joined
from reconciler.cli.printing.words import ports_in_words, protocol_in_words, rule_in_words
from reconciler.core.kernels.hostflags import flags_by_host
from reconciler.core.reaching.open_ports import open_ports
from reconciler.core.reaching.reach import (
    Cause,
    Decision,
    Packet,
    Party,
    Reach,
    Shortcut,
    first_packet,
    reach,
)
from reconciler.core.tasks.declared import PORTS_LABEL
from reconciler.core.tasks.profiles import PUBLIC


@dataclass(frozen=True, slots=True)
class Openings:
    """What one party may open towards another, over all ports."""

    tcp: tuple[PortRange, ...] = ()
    udp: tuple[PortRange, ...] = ()
    ping: bool = False

    def __bool__(self) -> bool:
        """Whether anything is open."""
        return bool(self.tcp or self.udp or self.ping)


@dataclass(frozen=True, slots=True)
class Question:
    """One packet between two sides, and what the rules say of it."""

    snapshot: Snapshot
    source: Side
    destination: Side
    parties: tuple[Party, Party]
    packet: Packet

    @property
    def flags(self) -> Mapping[HostName, HostFlags]:
        """What the agents of the hosts concerned registered of their flags."""
        return flags_by_host(self.snapshot.hosts)

    @property
    def reach(self) -> Reach:
        """The answer of the rules."""
        return reach(self.snapshot, *self.parties, self.packet, flags=self.flags)

    def openings(self) -> Openings:
        """What else is open between the same two addresses."""
        pair = (self.packet.source, self.packet.destination)
        ping = PROTOCOLS["icmp" if pair[0].version == 4 else "icmpv6"]
        return Openings(
            open_ports(self.snapshot, *self.parties, pair, PROTOCOLS["tcp"], self.flags),
            open_ports(self.snapshot, *self.parties, pair, PROTOCOLS["udp"], self.flags),
            bool(
                reach(
                    self.snapshot, *self.parties, first_packet(*pair, ping), flags=self.flags
                ).allowed
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer with the first fact that decides; `allowed` None is unknown.

    `fact` is one of a fixed set of words, `detail` a sentence about this case.
    """

    allowed: bool | None
    fact: str
    detail: str
    remedy: str = ""


def explain(question: Question) -> Finding:
    """Why the rules say what they say."""
    found = question.reach
    if found.shortcut is not None:
        return _shortcut(question, found, found.shortcut)
    if found.decision is None:
        return Finding(allowed=None, fact="unknown", detail="nothing in etcd decides")
    if found.allowed:
        return _allowed(question, found.decision)
    return _denied(question, found.decision)


def packet_in_words(packet: Packet) -> str:
    """`tcp/9000`, or the protocol alone."""
    name = protocol_in_words(packet.protocol)
    return name if packet.destination_port is None else f"{name}/{packet.destination_port}"


def openings_in_words(openings: Openings) -> str:
    """Everything that is open, in one line."""
    words = [
        f"{name} {'every port' if ranges == EVERY_PORT else ports_in_words(ranges)}"
        for name, ranges in (("tcp", openings.tcp), ("udp", openings.udp))
        if ranges
    ]
    return joined([*words, *(["ping"] if openings.ping else [])], "nothing")


EVERY_PORT = (PortRange(1, 65535),)


def _shortcut(question: Question, found: Reach, shortcut: Shortcut) -> Finding:
    asked, host = packet_in_words(question.packet), found.host
    match shortcut:
        case Shortcut.SAME_TASK:
            return Finding(
                allowed=True, fact="same task", detail="a task's own address never leaves it"
            )
        case Shortcut.OWN_HOST:
            name = question.destination.name
            return Finding(
                allowed=True,
                fact="own host",
                detail=f"a host reaches the tasks that run on it: {name}",
            )
        case Shortcut.HOST_PORT:
            detail = f"{asked} is among --host-ports of the agent on {host}"
            return Finding(
                allowed=True, fact="host port", detail=f"{detail}: {_host_ports(question, host)}"
            )
        case Shortcut.HOST_PORT_CLOSED:
            detail = f"{asked} is not among --host-ports of the agent on {host}"
            wish = f"{asked} among --host-ports of the agent on {host}"
            if question.packet.destination_port is None:
                wish = "nothing: hosts let tasks reach ports of TCP and UDP alone"
            return Finding(
                allowed=False,
                fact="host port closed",
                detail=f"{detail}: {_host_ports(question, host)}",
                remedy=wish,
            )
        case Shortcut.PROTECTED:
            closed = found.protected
            range_ = "" if closed is None else f"{closed.network}"
            if closed is not None and closed.port is not None:
                range_ += f" port {closed.port}"
            return Finding(
                allowed=False,
                fact="protected",
                detail=f"--protect of the agent on {host} closes {range_} to tasks",
                remedy=f"{range_} taken out of --protect of the agent on {host}",
            )
        case Shortcut.METADATA:
            return Finding(
                allowed=False,
                fact="metadata address",
                detail=f"{question.packet.destination} is link-local: of what tasks send there,"
                " hosts pass on DNS alone",
                remedy="nothing: a cloud hands out the host's own credentials there",
            )
        case Shortcut.HOST_DECIDES:
            return Finding(
                allowed=None,
                fact="host decides",
                detail=f"the agent on {host} has not told its --host-ports and --protect: it is of"
                " an older version, or not there",
            )
        case Shortcut.NOT_OURS:
            return Finding(
                allowed=None,
                fact="not ours",
                detail="neither end is a task, so no rule of ours applies",
            )


def _host_ports(question: Question, host: HostName | None) -> str:
    flags = question.flags.get(host) if host is not None else None
    return (ports_in_words(flags.host_ports) if flags is not None else "") or "none"


def _allowed(question: Question, decision: Decision) -> Finding:
    rule = decision.rule
    where = _where(decision)
    if decision.direction is Direction.OUTBOUND:
        detail = f"{where}; nothing of ours judges the other end"
        return Finding(allowed=True, fact="egress is open", detail=detail)
    if rule is not None and rule.match.src_tag is not None:
        tag = rule.match.src_tag
        if tag in question.source.groups and tag in question.destination.groups:
            return Finding(
                allowed=True, fact="common group", detail=f"both are in group {tag}: {where}"
            )
        return Finding(
            allowed=True, fact="common tag", detail=f"{question.source.name} has tag {tag}: {where}"
        )
    if rule is not None and rule.match.src_net is not None:
        return Finding(
            allowed=True,
            fact="address allowed",
            detail=f"{question.packet.source} is let in: {where}",
        )
    if PUBLIC in question.destination.groups:
        return Finding(
            allowed=True,
            fact="public",
            detail=f"{question.destination.app} is in group public: {where}",
        )
    return Finding(allowed=True, fact="rule allows", detail=where)


def _denied(question: Question, decision: Decision) -> Finding:
    side = _side(question, decision)
    match decision.cause:
        case Cause.INACTIVE:
            detail = f"the endpoint of {side.name} is inactive: closed on purpose"
            return Finding(
                allowed=False,
                fact="endpoint inactive",
                detail=detail,
                remedy="set its state to active",
            )
        case Cause.POLICY:
            named = decision.policies
            detail = f"{side.name} is closed: {policy_reason(named)}"
            remedy = f"delete policy {joined(map(str, named))}, or change whom it selects"
            return Finding(allowed=False, fact="tiered policy", detail=detail, remedy=remedy)
        case Cause.PROFILE_ABSENT:
            detail = f"{side.name} names profile {decision.profile}, which does not exist"
            return Finding(
                allowed=False,
                fact="profile absent",
                detail=detail,
                remedy=f"create profile {decision.profile}",
            )
        case Cause.PROFILE_UNENFORCEABLE:
            profile = decision.profile and question.snapshot.profiles.get(decision.profile)
            problem = (profile.problem if profile else "") or "a rule that no host enforces"
            return Finding(
                allowed=False,
                fact="profile unenforceable",
                detail=f"profile {decision.profile} of {side.name} closes it: {problem}",
                remedy=f"correct the rules of profile {decision.profile}",
            )
        case Cause.RULE:
            remedy = f"change the {decision.direction.value} rules of profile {decision.profile}"
            return Finding(
                allowed=False, fact="rule denies", detail=_where(decision), remedy=remedy
            )
        case Cause.NO_RULE if decision.direction is Direction.OUTBOUND:
            detail = f"no outbound rule of {side.name}'s profiles lets it"
            return Finding(
                allowed=False,
                fact="egress is closed",
                detail=detail,
                remedy="an outbound rule that allows it",
            )
        case Cause.NO_RULE:
            return _not_let_in(question)


def _side(question: Question, decision: Decision) -> Side:
    outbound = decision.direction is Direction.OUTBOUND
    return question.source if outbound else question.destination


def _where(decision: Decision) -> str:
    rule = decision.rule or Rule(Action.DENY)
    return (
        f"{decision.direction.value} rule {decision.number} of profile {decision.profile}: "
        f"{rule_in_words(rule)}"
    )


def _not_let_in(question: Question) -> Finding:
    source, destination = question.source, question.destination
    openings = question.openings()
    if openings and question.packet.destination_port is None:
        return Finding(
            allowed=False,
            fact="ping not allowed",
            detail=f"{source.name} may reach {destination.name} on"
            f" {openings_in_words(openings)} alone",
            remedy=f"an inbound rule that allows it, or the label {PORTS_LABEL}=open for "
            f"{destination.app}",
        )
    if openings:
        asked = packet_in_words(question.packet)
        remedy = f"declare {asked} as {destination.port_term} of {destination.app}"
        return Finding(
            allowed=False,
            fact="port not declared",
            detail=f"{source.name} may reach {destination.name} on {openings_in_words(openings)}, "
            f"not on {asked}",
            remedy=f"{remedy}, or give it the label {PORTS_LABEL}=open",
        )
    if source.kind == "task":
        return Finding(
            allowed=False,
            fact="no common group",
            detail=f"{source.name} is in {_groups(source)},"
            f" {destination.name} in {_groups(destination)}",
            remedy=f'{_into_one_group(source, destination)}; "{PUBLIC}" in the groups of'
            f" {destination.app} would let everybody in",
        )
    address = question.packet.source
    return Finding(
        allowed=False,
        fact="address not allowed",
        detail=f"{address} is no task's, and {destination.name} lets in only its groups, its host"
        " and what the controller's --allow-from names",
        remedy=f"--allow-from {address} for the controller and a new task, "
        f'or "{PUBLIC}" in the groups of {destination.app}',
    )


def _into_one_group(source: Side, destination: Side) -> str:
    """The usual way: a group that one has already, else a new one."""
    wishes = [
        f'"{group}" into the groups of {other.app}'
        for side, other in ((destination, source), (source, destination))
        for group in [each for each in side.groups if each != PUBLIC][:1]
    ]
    apps = " and of ".join(dict.fromkeys((source.app, destination.app)))
    return f"put both into one group: {', or '.join(wishes) or f'a new one into those of {apps}'}"


def _groups(side: Side) -> str:
    return joined(side.groups, "no group")
