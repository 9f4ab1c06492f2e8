"""How one host tells another that a packet begins something, and answers nothing.

Two tasks of different hosts that send to each other with mirrored ports would
each be taken for the answerer of the other: every host saw its own task begin.
Such a packet is a beginning at its sender's host and an answer at its
receiver's; a true answer is one at both. So the sender's host signs what
begins, by a hop limit that no packet of a task can have otherwise, and the
receiver's host asks the policy about a signed packet that looks like an answer.

A connection both of whose sides were let begin carries a label: whatever it
still sees is an answer. So it does not matter who of the two was first.

TCP needs none of it: a beginning is known by its flags.
"""

from collections.abc import Iterator

from calico.dataplane.nft_expr import (
    ACCEPT,
    RETURN,
    Statement,
    address,
    any_of,
    assign,
    between,
    goto,
    hop_limit,
    label,
    labelled,
    matches,
    meta,
    ours,
    replying,
    rule,
    tracked,
)
from calico.dataplane.render_policy import ADMITTED, TO_TASK
from calico.dataplane.state import Chain, NftRule

VERSIONS = (4, 6)
BETWEEN_HOSTS, LEAVING, UNSIGNED, ARRIVING = "between-hosts", "leaving", "unsigned", "arriving"
ICMP = (1, 58)
#: Signed packets leave with the highest hop limit, and arrive with one that is
#: still above what any host gives: 64 and 128 are in use.
SIGNED, LEAST_SIGNED = 255, 192
#: What a host gives that is told nothing else.
USUAL = 64
#: The last bit of a connection's label; who else uses labels, counts from the first.
BEGUN_BY_BOTH = 127


def render_beginnings() -> Iterator[Chain]:
    """The chains from BETWEEN_HOSTS on, which return what they do not decide.

    ADMITTED ends what a policy allows in.
    """
    yield Chain(BETWEEN_HOSTS, tuple(_between_hosts()))
    yield Chain(LEAVING, tuple(_leaving()))
    yield Chain(UNSIGNED, tuple(_unsigned()))
    yield Chain(ARRIVING, tuple(_arriving()))
    yield Chain(ADMITTED, tuple(_admitted()))


def _between_hosts() -> Iterator[NftRule]:
    # An echo or the like is told from its answer by its type; errors are not.
    yield rule(
        matches(meta("l4proto"), any_of(ICMP)),
        matches(tracked("state"), "related", negated=True),
        RETURN,
    )
    yield rule(ours("iifname"), ours("oifname", negated=True), goto(LEAVING))
    yield rule(ours("iifname", negated=True), ours("oifname"), goto(ARRIVING))


def _leaving() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(
            matches(address(version, "daddr"), f"@tasks{version}", negated=True),
            RETURN,
        )
    yield rule(replying(), goto(UNSIGNED))
    yield rule(labelled(BEGUN_BY_BOTH), goto(UNSIGNED))
    for version in VERSIONS:
        yield rule(assign(hop_limit(version), SIGNED))


def _unsigned() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(_is_signed(version), assign(hop_limit(version), USUAL))


def _is_signed(version: int, *, negated: bool = False) -> Statement:
    return matches(hop_limit(version), between(LEAST_SIGNED, SIGNED), negated=negated)


def _arriving() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(_is_signed(version, negated=True), RETURN)
    for version in VERSIONS:
        yield rule(
            matches(address(version, "saddr"), f"@tasks{version}", negated=True),
            RETURN,
        )
    for version in VERSIONS:
        yield rule(assign(hop_limit(version), USUAL))
    yield rule(labelled(BEGUN_BY_BOTH), RETURN)
    yield rule(replying(), goto(TO_TASK))


def _admitted() -> Iterator[NftRule]:
    yield rule(replying(), label(BEGUN_BY_BOTH))
    yield rule(ACCEPT)
