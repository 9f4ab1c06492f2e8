"""One task's network three times: as etcd asks, as its agent reports, as its kernel has it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from calico.dataplane.render.endpoints import mac_text
from calico.model import EndpointState
from reconciler.cli.printing.render import Lines, Section, Table, joined
from reconciler.cli.reading.cluster import TaskView
from reconciler.cli.reading.kernels import NotTold
from reconciler.core.kernels.task_page import ChainTold, RuleTold, SetTold, TaskPage, Traffic

NOTHING = "-"
DIFFERS = "DIFFERS"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the comparison; None where that side does not tell."""

    what: str
    desired: tuple[str, ...] | None = None
    reported: tuple[str, ...] | None = None
    kernel: tuple[str, ...] | None = None

    @property
    def differs(self) -> bool:
        """Whether two sides that tell do not tell the same."""
        told = [each for each in (self.desired, self.reported, self.kernel) if each is not None]
        return any(set(each) != set(told[0]) for each in told[1:])


def compare(task: TaskView, kernel: TaskPage | NotTold | None) -> tuple[Comparison, ...]:
    """All that can be compared of one task.

    What etcd does not say, such as routes, is what its agent makes of it.
    """
    page = kernel if isinstance(kernel, TaskPage) else None
    stored, reported = _stored(task), _reported(task)
    facts = {fact.what: fact for fact in page.facts} if page is not None else {}
    lines = dict.fromkeys((*stored, *reported, *facts))
    return tuple(
        Comparison(
            what=what,
            desired=stored.get(what, facts[what].wanted if what in facts else None),
            reported=reported.get(what),
            kernel=facts[what].found if what in facts else None,
        )
        for what in lines
    )


def _stored(task: TaskView) -> Mapping[str, tuple[str, ...]]:
    spec = task.spec
    if spec is None:
        return {"address": ()}
    state = EndpointState.UP if spec.active else EndpointState.DOWN
    if not spec.active:
        # Closed on purpose: what its kernel should have of it is nothing.
        return {"state": (state.value,)}
    return {
        "state": (state.value,),
        "address": tuple(sorted(map(str, spec.addresses))),
        "link": (f"{spec.interface} up",),
        "mac": (mac_text(spec.mac),) if spec.mac is not None else (),
    }


def _reported(task: TaskView) -> Mapping[str, tuple[str, ...]]:
    status = task.status
    if status is None:
        return {}
    found: dict[str, tuple[str, ...]] = {"state": (status.state.value,)}
    if status.addresses:
        found["address"] = tuple(sorted(map(str, status.addresses)))
    return found


def comparison_table(lines: tuple[Comparison, ...], *, kernel: bool) -> Table:
    """Side by side, with a word where they differ."""
    columns = ("", "desired", "reported", *(("kernel",) if kernel else ()), "")
    rows = []
    for line in lines:
        sides = (line.desired, line.reported, *((line.kernel,) if kernel else ()))
        cells = (NOTHING if side is None else joined(side, "nothing") for side in sides)
        rows.append((line.what, *cells, DIFFERS if line.differs else ""))
    return Table(columns, tuple(rows))


def kernel_fields(kernel: TaskPage | NotTold | None) -> dict[str, object] | None:
    """What is known of the kernel, for machines; null if it was not asked for."""
    match kernel:
        case None:
            return None
        case NotTold(reason, remedy):
            return {"told": False, "reason": reason, "remedy": remedy}
        case _:
            return {"told": True, **asdict(kernel)}


def kernel_sections(kernel: TaskPage | NotTold | None) -> tuple[Section, ...]:
    """The kernel's rules, sets and counters for people."""
    match kernel:
        case None:
            return ()
        case NotTold():
            return (Lines((f"kernel    not known: {kernel}",)),)
        case _:
            return (Lines(tuple(_kernel_lines(kernel))),)


def _kernel_lines(page: TaskPage) -> Iterator[str]:
    yield f"kernel    of {page.host}, seen {page.looked_at}, its agent at revision {page.revision}"
    if not page.interface:
        yield "  nothing of it is there, and its agent wants nothing of it there"
        return
    if page.unread:
        yield f"  PROBLEM the task's side cannot be read: {page.unread}"
    for word, traffic in (("sent", page.sent), ("received", page.received)):
        if traffic is not None:
            yield f"  {word:<9} {_traffic(traffic)}"
    for each in page.sets:
        yield f"  in set     {_set(each)}"
    for chain in page.chains:
        yield from _chain_lines(chain)
    for difference in page.differences:
        yield f"  {difference.sign} {difference.what} {difference.value}"


def _traffic(traffic: Traffic) -> str:
    dropped = f", {traffic.dropped} dropped" if traffic.dropped else ""
    return f"{traffic.packets} packets, {traffic.bytes} bytes{dropped}"


def _set(each: SetTold) -> str:
    meaning = f" ({each.meaning})" if each.meaning else ""
    return f"{each.name}{meaning}: {joined(each.elements)}"


def _chain_lines(chain: ChainTold) -> Iterator[str]:
    yield (
        f"  {chain.direction:<9}  chain {chain.name}; its counts are of first packets, "
        "of all tasks with these profiles"
    )
    for rule in chain.rules:
        yield f"    {rule.number:>3} {rule.text}{_counts(rule)}"


def _counts(rule: RuleTold) -> str:
    foreign = "" if rule.wanted else "   NOT OURS"
    if rule.packets is None:
        return foreign
    return f"   {rule.packets} packets, {rule.bytes} bytes{foreign}"
