"""When a task that Marathon no longer names may lose its network.

Absence alone is never proof: an answer may be empty, stale or partial. Adds
are fast; removals need evidence, or two agreeing lists, a small number and
nobody who contradicts.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from calico.cluster import HoldKind
from calico.model import TaskId
from reconciler.core.removal.held import plan_name

#: Seconds between the two complete lists that must both lack a task.
CONFIRM_AFTER = 30.0
#: Absences without evidence that are believed at once, whatever the share.
FEW = 3
#: Share of the live tasks that may be absent without evidence.
SHARE = 0.1


@dataclass(frozen=True, slots=True)
class CompleteList:
    """What one complete list from Marathon's leader says about our tasks.

    `known` are all tasks that have a record or an endpoint, `present` those that
    the list names, or whose app it names but nobody could understand. `is_empty`
    is whether it names no app at all, `is_trusted` whether Marathon said which
    framework it is. `bare` are those of the known without an endpoint, which
    have no network to lose; `contradicted` those that their hosts report up, of
    which the `lasting` were so for long: while an app is deleted its tasks end
    some time after Marathon has forgotten it.
    """

    known: frozenset[TaskId]
    present: frozenset[TaskId]
    is_empty: bool
    is_trusted: bool = True
    bare: frozenset[TaskId] = frozenset()
    contradicted: frozenset[TaskId] = frozenset()
    lasting: frozenset[TaskId] = frozenset()


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """What becomes of the absent tasks.

    `now` lose their network, `confirmed` do if a read of their own app lacks
    them too. `waiting` are looked at again in the next list, and so are the
    `contested`, for which this one is no first of two. `held` wait for a sane
    list, for evidence or for the operator. `is_credible` is whether the list may
    be the first of the two that must agree.
    """

    now: frozenset[TaskId] = frozenset()
    confirmed: frozenset[TaskId] = frozenset()
    waiting: frozenset[TaskId] = frozenset()
    contested: frozenset[TaskId] = frozenset()
    held: frozenset[TaskId] = frozenset()
    reason: str = ""
    is_credible: bool = True

    @property
    def plan(self) -> str:
        """A name for exactly these held tasks, which an operator can approve."""
        return plan_name(HoldKind.TASKS, self.held)


def judge_absences(
    listed: CompleteList,
    evidence: Collection[TaskId],
    absent_since: Mapping[TaskId, float],
    now: float,
    approved_plan: str | None,
) -> Withdrawals:
    """Decide about every known task that a complete list lacks.

    `absent_since` has, for each task that earlier lists of the same leader
    lacked without a break, when the first of them was judged; `now` is when
    this one was asked for, in seconds.
    """
    absent = listed.known - listed.present
    proven = absent & frozenset(evidence)
    others = absent - proven
    if not listed.is_trusted:
        return Withdrawals(now=proven, waiting=others, is_credible=False)
    unproven = others - listed.bare
    reason = _doubt(listed, unproven)
    if reason:
        # Such a list is no word on those without an endpoint either.
        held = Withdrawals(
            now=proven,
            waiting=others - unproven,
            held=unproven,
            reason=reason,
            is_credible=False,
        )
    else:
        held = _confirm(listed, others, absent_since, now, proven)
    if approved_plan == held.plan:
        return replace(held, now=proven | held.held, held=frozenset(), reason="")
    return held


def _doubt(listed: CompleteList, unproven: frozenset[TaskId]) -> str:
    """Why a list as a whole is not believed; empty if it may be."""
    if not unproven:
        return ""
    live = len(listed.known - listed.bare)
    limit = max(FEW, SHARE * live)
    if listed.is_empty or len(unproven) > limit:
        return (
            "Marathon's list is empty"
            if listed.is_empty
            else f"{len(unproven)} of {live} tasks are absent without evidence"
        )
    return ""


def _confirm(
    listed: CompleteList,
    absent: frozenset[TaskId],
    absent_since: Mapping[TaskId, float],
    now: float,
    proven: frozenset[TaskId],
) -> Withdrawals:
    """What becomes of few absences: those that nobody contradicts need two lists."""
    contradicted = absent & listed.contradicted
    held = contradicted & listed.lasting
    confirmed = frozenset(
        task for task in absent - contradicted if now - absent_since.get(task, now) >= CONFIRM_AFTER
    )
    return Withdrawals(
        now=proven,
        confirmed=confirmed,
        waiting=absent - contradicted - confirmed,
        contested=contradicted - held,
        held=held,
        reason=f"hosts report {len(held)} absent task{'s' * (len(held) != 1)} up" if held else "",
    )
