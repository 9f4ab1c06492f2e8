"""What waits for an operator: how it is named, and what lets it go."""

import hashlib
from collections.abc import Collection
from typing import assert_never

from calico.cluster import HoldKind, HoldRecord


def plan_name(kind: HoldKind, subjects: Collection[str]) -> str:
    """A name for letting exactly these go; other subjects have another one."""
    text = "\n".join((kind.value, *sorted(subjects)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def remedy(hold: HoldRecord) -> str:
    """The command by which an operator lets it go."""
    match hold.kind:
        case HoldKind.TASKS | HoldKind.GROUPS:
            return f"marathon-calico holds approve {hold.plan} --yes"
        case HoldKind.FRAMEWORK | HoldKind.STORE:
            return "marathon-calico cluster adopt --yes"
        case _:
            assert_never(hold.kind)


def is_approved(hold: HoldRecord) -> bool:
    """Whether an operator let exactly this go; the controller ends it then."""
    return hold.plan != "" and hold.approved == hold.plan


def told(hold: HoldRecord) -> dict[str, object]:
    """One hold on a page of the controller, however many wait."""
    return {
        "kind": hold.kind.value,
        "plan": hold.plan,
        "count": len(hold.subjects),
        "reason": hold.reason,
        "since": hold.since,
        "remedy": remedy(hold),
    }
