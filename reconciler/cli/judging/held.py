"""What waits for an operator, and what ends the wait, in words; pure."""

from typing import assert_never

from calico.cluster import HoldKind, HoldRecord
from reconciler.core.removal.held import is_approved, remedy


def what_waits(hold: HoldRecord) -> str:
    """How many of what, as `3 removals`."""
    count = len(hold.subjects)
    match hold.kind:
        case HoldKind.TASKS:
            word = "removal" if count == 1 else "removals"
        case HoldKind.FRAMEWORK:
            return "all of Marathon's word"
        case HoldKind.GROUPS:
            word = "app" if count == 1 else "apps"
        case HoldKind.STORE:
            word = "host" if count == 1 else "hosts"
        case _:
            assert_never(hold.kind)
    return f"{count} {word}"


def hold_data(hold: HoldRecord) -> dict[str, object]:
    """One hold in `-o json`."""
    return {
        "kind": hold.kind.value,
        "plan": hold.plan,
        "subjects": list(hold.subjects),
        "reason": hold.reason,
        "since": hold.since,
        "approved": is_approved(hold),
        "remedy": remedy(hold),
    }
