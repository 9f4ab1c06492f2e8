"""What an agent tells of its whole kernel over HTTP, as a value that both ends share.

Fields are only ever added, each with a default; see `task_page`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from calico.dataplane.nft.expr import ends_in_drop
from calico.dataplane.render.policy import is_policy_chain
from reconciler.core.kernels.look import KernelDifference, Look, kernel_differences, rules_by_digest
from reconciler.core.kernels.task_page import Counts, count_of

MOST_DIFFERENCES = 200


@dataclass(frozen=True, slots=True)
class HostPage:
    """A host's kernel as a whole; `more` is how many differences are not listed.

    `drops` are the packets that the chains of every host have dropped since their
    rules last changed; what profiles drop is told with each task.
    """

    host: str
    looked_at: str
    revision: int
    source: str = ""
    doubt: str = ""
    problems: tuple[str, ...] = ()
    differences: tuple[KernelDifference, ...] = ()
    more: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)


def host_page(look: Look, counts: Counts) -> HostPage:
    """The host as a whole; `counts` are those of the chains that every host has."""
    found = kernel_differences(look)
    return HostPage(
        host=look.host,
        looked_at=look.at,
        revision=look.revision,
        source=look.source,
        doubt=look.doubt,
        problems=look.problems,
        differences=found[:MOST_DIFFERENCES],
        more=max(0, len(found) - MOST_DIFFERENCES),
        drops=dict(_drops(look, counts)),
    )


def chains_of_host(look: Look) -> tuple[str, ...]:
    """The chains in which packets may end that no profile is asked about."""
    return tuple(name for name in look.observed.chains if not is_policy_chain(name))


def _drops(look: Look, counts: Counts) -> Iterator[tuple[str, int]]:
    known = rules_by_digest(look.desired)
    for name in sorted(counts.keys() & look.observed.chains.keys()):
        dropped = [
            count_of(rule, number, counts[name]).packets or 0
            for number, rule in enumerate(look.observed.chains[name].rules, start=1)
            if ends_in_drop(known.get(rule.digest, rule))
        ]
        if dropped:
            yield name, sum(dropped)
