"""When a task that Marathon no longer names may lose its network.

Absence alone is never proof: an answer may be empty, stale or partial. Adds
are fast; removals need evidence, or two agreeing lists and a small number.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

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

    `known` are all tasks that have a record, `present` those that the list
    names, or whose app it names but nobody could understand. `is_empty` is
    whether it names no app at all, `is_trusted` whether Marathon said which
    framework it is.
    """

    known: frozenset[TaskId]
    present: frozenset[TaskId]
    is_empty: bool
    is_trusted: bool = True


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """What becomes of the absent tasks.

    `now` lose their network, `waiting` are looked at again in the next list,
    `held` wait for a sane list, for evidence or for the operator.
    """

    now: frozenset[TaskId] = frozenset()
    waiting: frozenset[TaskId] = frozenset()
    held: frozenset[TaskId] = frozenset()
    reason: str = ""

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
    lacked without a break, the time of the first of them, in seconds.
    """
    absent = listed.known - listed.present
    proven = absent & frozenset(evidence)
    unproven = absent - proven
    if not unproven:
        return Withdrawals(now=proven)
    if not listed.is_trusted:
        return Withdrawals(now=proven, waiting=unproven)
    limit = max(FEW, SHARE * len(listed.known))
    if listed.is_empty or len(unproven) > limit:
        reason = (
            "Marathon's list is empty"
            if listed.is_empty
            else f"{len(unproven)} of {len(listed.known)} tasks are absent without evidence"
        )
        held = Withdrawals(now=proven, held=unproven, reason=reason)
        if approved_plan == held.plan:
            return Withdrawals(now=absent)
        return held
    confirmed = frozenset(
        task for task in unproven if now - absent_since.get(task, now) >= CONFIRM_AFTER
    )
    return Withdrawals(now=proven | confirmed, waiting=unproven - confirmed)
