"""What checks of one task have found so far; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from demo.marathon.core.state import Task


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check of one task has found so far; moments are timestamps."""

    alive: bool = False
    consecutive_failures: int = 0
    first_success: str | None = None
    last_success: str | None = None
    last_failure: str | None = None
    last_failure_cause: str | None = None


class Opinions(Protocol):
    """What is known of the health of tasks."""

    def results(self, task: Task) -> Sequence[CheckResult]:
        """The results that there are, in the order of the task's checks."""

    def alive(self, task: Task) -> bool | None:
        """True if every check says so; None without checks, or before any result."""


def judge(previous: CheckResult, cause: str | None, when: str) -> CheckResult:
    """The result after one more look; without a `cause` it was a success."""
    if cause is None:
        return replace(
            previous,
            alive=True,
            consecutive_failures=0,
            first_success=previous.first_success or when,
            last_success=when,
        )
    return replace(
        previous,
        alive=False,
        consecutive_failures=previous.consecutive_failures + 1,
        last_failure=when,
        last_failure_cause=cause,
    )
