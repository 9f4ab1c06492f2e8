"""Values of the model in an operator's words."""

from collections.abc import Iterable, Iterator

from calico.model import PROTOCOLS, Match, Pool, PortOpening, PortRange, Rule

_NAMES = {number: name for name, number in PROTOCOLS.items()}


def protocol_in_words(number: int) -> str:
    """A protocol's name, or its number if it has none here."""
    return _NAMES.get(number, str(number))


def ports_in_words(ranges: Iterable[PortRange]) -> str:
    """Ports as calicoctl writes them: `80,443,8000:8010`."""
    return ",".join(
        str(one.first) if one.first == one.last else f"{one.first}:{one.last}" for one in ranges
    )


def opening_in_words(opening: PortOpening) -> str:
    """A port that is declared: `9000/tcp`."""
    return f"{opening.number}/{opening.protocol}"


def rule_in_words(rule: Rule) -> str:
    """A rule in calicoctl's grammar, conditions that must not hold with `not`."""
    words = [rule.action.value]
    if rule.ip_version is not None:
        words.append(f"ipv{rule.ip_version}")
    if rule.match.protocol is not None:
        words.append(protocol_in_words(rule.match.protocol))
    if rule.unless.protocol is not None:
        words.append(f"not {protocol_in_words(rule.unless.protocol)}")
    words.extend(_icmp(rule.match, ""))
    words.extend(_icmp(rule.unless, "not "))
    for word, side in (("from", _source), ("to", _destination)):
        conditions = [*side(rule.match, ""), *side(rule.unless, "not ")]
        if conditions:
            words.extend((word, *conditions))
    return " ".join(words)


def _icmp(match: Match, sign: str) -> Iterator[str]:
    if match.icmp_type is not None:
        code = "" if match.icmp_code is None else f" code {match.icmp_code}"
        yield f"{sign}type {match.icmp_type}{code}"


def _source(match: Match, sign: str) -> Iterator[str]:
    if match.src_ports:
        yield f"{sign}ports {ports_in_words(match.src_ports)}"
    if match.src_tag is not None:
        yield f"{sign}tag {match.src_tag}"
    if match.src_net is not None:
        yield f"{sign}cidr {match.src_net}"
    if match.src_selector is not None:
        yield f"{sign}selector {match.src_selector}"


def _destination(match: Match, sign: str) -> Iterator[str]:
    if match.dst_ports:
        yield f"{sign}ports {ports_in_words(match.dst_ports)}"
    if match.dst_tag is not None:
        yield f"{sign}tag {match.dst_tag}"
    if match.dst_net is not None:
        yield f"{sign}cidr {match.dst_net}"
    if match.dst_selector is not None:
        yield f"{sign}selector {match.dst_selector}"


def pool_options(pool: Pool) -> tuple[str, ...]:
    """What a pool is apart from a range, in calicoctl's words where it has them."""
    return tuple(
        word
        for word, holds in (
            ("nat-outgoing", pool.masquerade),
            ("disabled", pool.disabled),
            ("no addresses given", not pool.ipam),
        )
        if holds
    )
