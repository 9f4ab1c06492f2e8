"""How one host tells another that a packet begins something, and answers nothing.

Two tasks of different hosts that send to each other with mirrored ports would
each be taken for the answerer of the other: every host saw its own task begin.
Such a packet is a beginning at its sender's host and an answer at its
receiver's; a true answer is one at both. So the sender's host signs what
begins, by a hop limit that no packet of a task leaves with otherwise, and the
receiver's host asks the policy about a signed packet that looks like an answer.

A connection both of whose sides were let begin carries a label: whatever it
still sees is an answer. So it does not matter who of the two was first.

TCP needs none of it, since a beginning is known by its flags, and an echo is
told from its answer by its type. Errors about all of them do need it.
"""

from collections.abc import Iterator

from calico.dataplane.nft_expr import (
    ACCEPT,
    RETURN,
    Statement,
    address,
    assign,
    between,
    goto,
    hop_limit,
    label,
    labelled,
    matches,
    ours,
    replying,
    rule,
)
from calico.dataplane.render_policy import ADMITTED, TO_TASK
from calico.dataplane.state import Chain, NftRule

VERSIONS = (4, 6)
BETWEEN_HOSTS, UNSIGNED, ARRIVING, HALFWAY = "between-hosts", "unsigned", "arriving", "halfway"
#: Signed packets leave with the highest hop limit, and arrive with one that is
#: still above what any host gives: 64 and 128 are in use.
SIGNED, LEAST_SIGNED = 255, 192
#: What a host gives that is told nothing else.
USUAL = 64
#: The last bit of a connection's label; who else uses labels counts from the first.
BEGUN_BY_BOTH = 127


def render_beginnings() -> Iterator[Chain]:
    """The chains from BETWEEN_HOSTS on, which return what they do not decide.

    ADMITTED ends what a policy allows in.
    """
    yield Chain(BETWEEN_HOSTS, tuple(_between_hosts()))
    yield Chain(UNSIGNED, tuple(_unsigned()))
    yield Chain(ARRIVING, tuple(_arriving()))
    yield Chain(HALFWAY, tuple(_halfway()))
    yield Chain(ADMITTED, tuple(_admitted()))


def _between_hosts() -> Iterator[NftRule]:
    yield rule(ours("oifname"), goto(ARRIVING))
    # What only passes by was signed, or not, where it came from.
    yield rule(ours("iifname", negated=True), RETURN)
    yield rule(replying(), goto(UNSIGNED))
    yield rule(labelled(BEGUN_BY_BOTH), goto(UNSIGNED))
    for version in VERSIONS:
        yield rule(_with_task(version, "daddr"), assign(hop_limit(version), SIGNED))


def _unsigned() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(
            _is_signed(version), _with_task(version, "daddr"), assign(hop_limit(version), USUAL)
        )


def _arriving() -> Iterator[NftRule]:
    yield rule(replying(negated=True), RETURN)
    for version in VERSIONS:
        yield rule(_is_signed(version), _with_task(version, "saddr"), goto(HALFWAY))


def _halfway() -> Iterator[NftRule]:
    # On its own host a task may write whatever hop limit it likes.
    yield rule(ours("iifname"), RETURN)
    yield rule(labelled(BEGUN_BY_BOTH), RETURN)
    yield rule(goto(TO_TASK))


def _admitted() -> Iterator[NftRule]:
    yield rule(replying(), label(BEGUN_BY_BOTH))
    yield rule(ACCEPT)


def _is_signed(version: int) -> Statement:
    return matches(hop_limit(version), between(LEAST_SIGNED, SIGNED))


def _with_task(version: int, side: str) -> Statement:
    return matches(address(version, side), f"@tasks{version}")
