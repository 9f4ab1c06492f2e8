"""How one host tells another that a packet begins something, and answers nothing.

Two tasks of different hosts that send to each other with mirrored ports would
each be taken for the answerer of the other: every host saw its own task begin.
Such a packet is a beginning at its sender's host and an answer at its
receiver's; a true answer is one at both. So the sender's host signs what
begins, by a hop limit that no packet of a task leaves with otherwise, and the
receiver's host asks the policy about a signed packet that looks like an answer.

A connection both of whose sides were let begin is labelled: whatever it still
sees is an answer. So it does not matter who was first.

Two beginnings need no signature: that of TCP is known by its flags, and an
echo is told from its answer by its type. Once a true answer was seen, such a
connection is labelled, and nothing more is asked about it. Other connections
are asked about to their end: where the policy of one host changes before that
of the other, the one tracks anew what the other still takes for answered, and
only the signature tells it so.
"""

from collections.abc import Iterator

from calico.dataplane.nft.expr import (
    ACCEPT,
    RETURN,
    Statement,
    address,
    any_of,
    assign,
    dropping,
    goto,
    hop_limit,
    jump,
    label,
    labelled,
    matches,
    meta,
    number_range,
    opening,
    ours,
    replying,
    rule,
    tracked,
)
from calico.dataplane.render.policy import ADMITTED, TO_TASK
from calico.dataplane.state import Chain, NftRule

VERSIONS = (4, 6)
#: What becomes of packets of a connection under way, while none of its answers was seen.
ESTABLISHED, LEAVING, ARRIVING = "established", "leaving", "arriving"
SIGNING, UNSIGNED, COMPARING, HALFWAY = "signing", "unsigned", "comparing", "halfway"
TCP, ICMP = 6, (1, 58)
#: Signed packets leave with the highest hop limit, and arrive with one that is
#: still above what any host gives: 64 and 128 are in use.
SIGNED, LEAST_SIGNED = 255, 192
#: What a host gives that is told nothing else.
USUAL = 64
#: The last bits of a connection's label; who else uses labels counts from the first.
BEGUN_BY_BOTH, ANSWERED = 126, 127


def unsigned_kind(*, negated: bool = False) -> Statement:
    """A packet whose beginning is known without a signature; or one that is not."""
    return matches(meta("l4proto"), any_of((TCP, *ICMP)), negated=negated)


def answered() -> NftRule:
    """The one rule for most packets: their connection is one beyond doubt."""
    return rule(matches(tracked("state"), "established"), labelled(ANSWERED), ACCEPT)


def render_beginnings() -> Iterator[Chain]:
    """ESTABLISHED and ADMITTED accept; SIGNING and COMPARING return what they do not decide.

    ESTABLISHED is for what is not `answered`, ADMITTED ends what a policy
    allows in. SIGNING is for packets that leave, COMPARING for those that come.
    """
    yield Chain(ESTABLISHED, tuple(_established()))
    yield Chain(LEAVING, tuple(_leaving()))
    yield Chain(ARRIVING, tuple(_arriving()))
    yield Chain(SIGNING, tuple(_signing()))
    yield Chain(UNSIGNED, tuple(_unsigned()))
    yield Chain(COMPARING, tuple(_comparing()))
    yield Chain(HALFWAY, tuple(_halfway()))
    yield Chain(ADMITTED, tuple(_admitted()))


def _established() -> Iterator[NftRule]:
    # A host that signs nothing must not let TCP begin as an answer either.
    yield dropping(opening(), replying())
    yield rule(ours("oifname"), goto(ARRIVING))
    yield rule(ours("iifname"), goto(LEAVING))
    yield rule(ACCEPT)


def _leaving() -> Iterator[NftRule]:
    # An answer that looks signed has to come here each time, to be changed.
    for version in VERSIONS:
        yield rule(
            unsigned_kind(),
            replying(),
            _is_signed(version, negated=True),
            label(ANSWERED),
        )
    yield rule(jump(SIGNING))
    yield rule(ACCEPT)


def _arriving() -> Iterator[NftRule]:
    yield rule(replying(negated=True), ACCEPT)
    yield rule(jump(COMPARING))
    yield rule(unsigned_kind(), label(ANSWERED))
    yield rule(ACCEPT)


def _signing() -> Iterator[NftRule]:
    yield rule(
        matches(meta("l4proto"), any_of(ICMP)),
        matches(tracked("state"), "related", negated=True),
        RETURN,
    )
    yield rule(replying(), goto(UNSIGNED))
    yield rule(labelled(BEGUN_BY_BOTH), goto(UNSIGNED))
    for version in VERSIONS:
        yield rule(_with_task(version, "daddr"), assign(hop_limit(version), SIGNED))


def _unsigned() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(
            _is_signed(version), _with_task(version, "daddr"), assign(hop_limit(version), USUAL)
        )


def _comparing() -> Iterator[NftRule]:
    # On its own host a task may write whatever hop limit it likes.
    yield rule(ours("iifname"), RETURN)
    yield rule(replying(negated=True), RETURN)
    for version in VERSIONS:
        yield rule(_is_signed(version), _with_task(version, "saddr"), goto(HALFWAY))


def _halfway() -> Iterator[NftRule]:
    yield rule(labelled(BEGUN_BY_BOTH), ACCEPT)
    yield rule(goto(TO_TASK))


def _admitted() -> Iterator[NftRule]:
    yield rule(replying(), label(BEGUN_BY_BOTH))
    yield rule(ACCEPT)


def _is_signed(version: int, *, negated: bool = False) -> Statement:
    return matches(hop_limit(version), number_range(LEAST_SIGNED, SIGNED), negated=negated)


def _with_task(version: int, side: str) -> Statement:
    return matches(address(version, side), f"@tasks{version}")
