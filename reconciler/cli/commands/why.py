"""`marathon-calico why`: whether one party reaches another, and what decides it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import click
from netaddr import IPAddress

from calico.model import EndpointState, PortRange
from reconciler.cli.command import reads_cluster
from reconciler.cli.judging.explain import (
    Finding,
    Openings,
    Question,
    explain,
    openings_in_words,
    packet_in_words,
)
from reconciler.cli.judging.parties import Side, Target, parse_parties, protocol_number
from reconciler.cli.judging.why_kernel import Kernel, hosts_on_the_way, judge_kernel
from reconciler.cli.printing.render import Answer, Lines, joined
from reconciler.cli.printing.words import ports_in_words, rule_in_words
from reconciler.cli.reading.cluster import Cluster
from reconciler.cli.reading.kernels import NOT_ASKED, Kernels, ask_verdicts, kernel_option
from reconciler.core.reaching.open_ports import LAST_PORT
from reconciler.core.reaching.reach import Decision, Party, Reach, first_packet
from reconciler.core.verdict import AgentState, Verdict

EXIT_CODES = {True: 0, False: 1, None: 3}
ANSWERS = {True: "allowed", False: "denied", None: "unknown"}
#: Asked about when nothing is open and the destination declares no port.
SOME_PORT = 80


@dataclass(frozen=True, slots=True)
class Ruling:
    """What policy says, before anything is asked of the hosts."""

    finding: Finding
    pair: tuple[IPAddress, IPAddress] | None = None
    openings: Openings | None = None
    question: Question | None = None
    asked: str = "anything"

    @property
    def reach(self) -> Reach:
        """What was decided, nothing if there was no packet to ask about."""
        return self.question.reach if self.question is not None else Reach(None)


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST[:PORT][/PROTOCOL]")
@kernel_option
@reads_cluster
def why(cluster: Cluster, now: datetime, source: str, destination: str, kernel: bool) -> Answer:  # noqa: ARG001 - a read has a time
    """Whether SRC may open a connection to DST, and the first fact that decides.

    SRC and DST are tasks (id, unique prefix or app id), hosts or addresses.
    Of an app whose tasks all have the same groups and ports it is the first by
    id that is in sync, and the answer names the others. Without a PORT the
    answer is about every port; PROTOCOL is tcp, udp or icmp. Exits 0
    if allowed, 1 if denied, 2 if there is no such thing, 3 if etcd cannot tell.
    The agents of the hosts on the way are asked what their kernels do with the
    first packet: their own routes, chains and sets decide.

    \b
    Fields of -o json:
      answer       allowed, denied or unknown
      fact, detail what decided, as a fixed word and as a sentence
      remedy       what would allow it, empty if allowed
      source, destination
                   kind (task, host, address), name, app, host, address, groups,
                   others (tasks of the app that were meant as well)
      protocol, port
                   what was asked about, null for everything
      open         tcp, udp (port ranges as text) and icmp (true or false);
                   null if a port was asked about
      rule         direction, profile, number, text of the deciding rule, or null
      kernel       host, agrees (yes, no, unknown) and detail of the host that
                   decides; null if none does
    """
    sender, target = parse_parties(cluster, source, destination)
    kernels = ask_on_the_way(cluster, sender, target) if kernel else NOT_ASKED
    return judge_why(cluster, source, destination, kernels)


def ask_on_the_way(cluster: Cluster, sender: Side, target: Target) -> Kernels:
    """What the kernels of the hosts between two parties do with the packet in question."""
    ruling = _rule(cluster, sender, target)
    if ruling.question is None:
        return NOT_ASKED
    hosts = hosts_on_the_way(sender, target.side, ruling.reach.shortcut)
    return ask_verdicts(cluster, hosts, ruling.question.packet)


def judge_why(
    cluster: Cluster, source: str, destination: str, kernels: Kernels = NOT_ASKED
) -> Answer:
    """Answer for one pair, from policy first, then from agents and their kernels."""
    sender, target = parse_parties(cluster, source, destination)
    ruling = _rule(cluster, sender, target)
    finding = ruling.finding
    if finding.allowed:
        finding = _closed_by_host(cluster, sender, target.side) or finding
    kernel = None
    if ruling.question is not None:
        # Without two addresses there is no packet that a kernel could judge.
        kernel = judge_kernel(cluster, sender, target.side, finding, kernels.verdicts)
    pair = ruling.pair or (None, None)
    openings = ruling.openings
    data = {
        "answer": ANSWERS[finding.allowed],
        "fact": finding.fact,
        "detail": finding.detail,
        "remedy": finding.remedy,
        "source": _side_fields(sender, pair[0]),
        "destination": _side_fields(target.side, pair[1]),
        "protocol": target.protocol,
        "port": target.port,
        "open": None
        if openings is None
        else {
            "tcp": ports_in_words(openings.tcp),
            "udp": ports_in_words(openings.udp),
            "icmp": openings.ping,
        },
        "rule": _rule_fields(ruling.reach.decision),
        "kernel": kernel
        and {"host": kernel.host, "agrees": kernel.agrees, "detail": kernel.detail},
    }
    head = (
        f"{ANSWERS[finding.allowed].upper()}  {_side_words(sender, pair[0])} -> "
        f"{_side_words(target.side, pair[1])} {ruling.asked}"
    )
    others = (_others(sender), _others(target.side))
    lines = (head, *filter(None, others), *_lines(finding, ruling, kernel))
    return Answer(data, (Lines(lines),), EXIT_CODES[finding.allowed])


def _rule(cluster: Cluster, sender: Side, target: Target) -> Ruling:
    receiver = target.side
    for side in (sender, receiver):
        if side.party is None or not side.addresses:
            return Ruling(_without_address(side))
    pair = _pair(sender, receiver)
    if pair is None or sender.party is None or receiver.party is None:
        detail = f"{sender.name} and {receiver.name} have no addresses of one family"
        return Ruling(
            Finding(
                allowed=False,
                fact="no common address family",
                detail=detail,
                remedy="a pool of that family",
            )
        )
    question = _question(cluster, sender, target, (sender.party, receiver.party), pair)
    if target.port is not None or target.protocol in ("icmp", "icmpv6"):
        return Ruling(
            finding=explain(question),
            pair=pair,
            openings=None,
            question=question,
            asked=packet_in_words(question.packet),
        )
    openings = _narrowed(question.openings(), target.protocol)
    question = _typical(cluster, question, openings, target)
    asked = target.protocol or _extent(openings)
    return Ruling(
        finding=explain(question), pair=pair, openings=openings, question=question, asked=asked
    )


def _extent(openings: Openings) -> str:
    """How much is open, since the first line is all that many will read."""
    if not openings or (openings.tcp == openings.udp == (PortRange(1, LAST_PORT),)):
        return "anything"
    return "on some ports" if openings.tcp or openings.udp else "ping only"


def _without_address(side: Side) -> Finding:
    reason = side.task.judgement.reason if side.task else "it is not registered"
    if side.task is None:
        remedy = f"start the agent on {side.name}"
    elif side.task.judgement.verdict is Verdict.REFUSED:
        remedy = f"correct {side.app}: its next task gets an address"
    else:
        remedy = f"wait, or see to what {side.name} waits for"
    return Finding(
        allowed=False,
        fact="no address yet",
        detail=f"{side.name} has no address: {reason or 'none was given yet'}",
        remedy=remedy,
    )


def _pair(sender: Side, receiver: Side) -> tuple[IPAddress, IPAddress] | None:
    """Addresses of one family, IPv4 first."""
    for version in (4, 6):
        sources = [address for address in sender.addresses if address.version == version]
        destinations = [address for address in receiver.addresses if address.version == version]
        if sources and destinations:
            return sources[0], destinations[0]
    return None


def _question(
    cluster: Cluster,
    sender: Side,
    target: Target,
    parties: tuple[Party, Party],
    pair: tuple[IPAddress, IPAddress],
) -> Question:
    protocol = protocol_number(target.protocol or "tcp", pair[0].version)
    port = target.port
    if port is None and target.protocol not in ("icmp", "icmpv6"):
        port = SOME_PORT
    packet = first_packet(*pair, protocol, port)
    return Question(
        snapshot=cluster.snapshot,
        source=sender,
        destination=target.side,
        parties=parties,
        packet=packet,
    )


def _narrowed(openings: Openings, protocol: str | None) -> Openings:
    return Openings(
        openings.tcp if protocol in (None, "tcp") else (),
        openings.udp if protocol in (None, "udp") else (),
        openings.ping if protocol is None else False,
    )


def _typical(cluster: Cluster, question: Question, openings: Openings, target: Target) -> Question:
    """The packet that speaks for all: one that is let through, else a declared one."""
    declared = target.side.task.record.ports if target.side.task and target.side.task.record else ()
    wanted = [port for port in declared if target.protocol in (None, port.protocol)]
    protocol, port = target.protocol or "tcp", SOME_PORT
    if openings.tcp:
        protocol, port = "tcp", openings.tcp[0].first
    elif openings.udp:
        protocol, port = "udp", openings.udp[0].first
    elif openings.ping:
        return _question(
            cluster,
            question.source,
            Target(target.side, "icmp"),
            question.parties,
            (question.packet.source, question.packet.destination),
        )
    elif wanted:
        protocol, port = wanted[0].protocol, wanted[0].number
    return _question(
        cluster,
        question.source,
        Target(target.side, protocol, port),
        question.parties,
        (question.packet.source, question.packet.destination),
    )


def _closed_by_host(cluster: Cluster, sender: Side, receiver: Side) -> Finding | None:
    """Policy allows, but a host is known not to carry it out yet."""
    if sender.task is not None and sender.task == receiver.task:
        return None
    for task in (sender.task, receiver.task):
        if task is None or task.judgement.verdict is Verdict.IN_SYNC:
            continue
        agent = cluster.host(task.host).agent
        if agent.state in (AgentState.SILENT, AgentState.FORGOTTEN):
            continue
        status = task.status
        reason = task.judgement.reason
        if status is None or status.revision < task.revision:
            return Finding(
                allowed=False,
                fact="not applied yet",
                detail=f"agent on {task.host} has not applied revision {task.revision} of"
                f" {task.name}",
                remedy=f"wait for, or look at, the agent on {task.host}: {reason}",
            )
        word = "down" if status.state is EndpointState.DOWN else "not right"
        return Finding(
            allowed=False,
            fact="endpoint down",
            detail=f"the endpoint of {task.name} on {task.host} is {word}: {reason}",
            remedy=f"look at the agent on {task.host}",
        )
    return None


def _side_fields(side: Side, address: IPAddress | None) -> dict[str, object]:
    return {
        "kind": side.kind,
        "name": side.name,
        "app": side.task.app if side.task else None,
        "host": side.task.host if side.task else None,
        "address": str(address) if address is not None else None,
        "groups": list(side.groups),
        "others": list(side.others),
    }


def _rule_fields(decision: Decision | None) -> dict[str, object] | None:
    if decision is None or decision.rule is None:
        return None
    return {
        "direction": decision.direction.value,
        "profile": decision.profile,
        "number": decision.number,
        "text": rule_in_words(decision.rule),
    }


def _side_words(side: Side, address: IPAddress | None) -> str:
    parts = [str(address)] if address is not None and side.name != str(address) else []
    if side.task is not None:
        parts.append(f"groups {joined(side.groups, 'none')}")
    return f"{side.name} ({', '.join(parts)})" if parts else side.name


def _others(side: Side) -> str:
    """Of how many tasks this is one that were meant; empty if it is the only one."""
    if not side.others:
        return ""
    return (
        f"  asked of  {side.name}, one of {len(side.others) + 1} tasks of {side.app} with the same"
        f" groups and ports; `get tasks {side.app}` lists them"
    )


def _lines(finding: Finding, ruling: Ruling, kernel: Kernel | None) -> Iterator[str]:
    yield f"  because   {finding.fact}: {finding.detail}"
    if ruling.openings is not None:
        yield f"  open      {openings_in_words(ruling.openings)}"
    if kernel is not None:
        words = {"yes": "agrees", "no": "does not", "unknown": "unknown"}[kernel.agrees]
        yield f"  kernel    {kernel.host} {words}: {kernel.detail}"
    if finding.remedy and not finding.allowed:
        yield f"  to allow  {finding.remedy}"
