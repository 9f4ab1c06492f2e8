"""What waits for an operator, and what ends the wait, in words; pure."""

from typing import assert_never

from calico.cluster import HoldKind, HoldRecord


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
    return hold.approved == hold.plan


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
