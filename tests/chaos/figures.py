"""What a chaos run did and saw, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.actions import Action, count


@dataclass
class Figures:
    """What a run did and saw."""

    actions: list[Action] = field(default_factory=list)
    sent: int = 0
    forbidden: int = 0
    arrived: int = 0
    tasks: Mapping[str, int] = field(default_factory=dict)
    echoed: dict[tuple[str, str, float], int] = field(default_factory=dict)
    longest: float = 0.0
    late: float = 0.0
    converged: float = 0.0
    approved: int = 0

    def lines(self) -> list[str]:
        """For a person."""
        return [
            f"{len(self.actions)} actions: {count(self.actions)}",
            f"{sum(self.tasks.values())} tasks were watched: {self.tasks.get('attached', 0)} that a"
            f" plugin attached, {self.tasks.get('found', 0)} that an agent found",
            f"{self.sent} probes sent, of them {self.forbidden} between tasks that share no group;"
            f" {self.arrived} arrived, none of those",
            f"{len(self.echoed)} connections carried {sum(self.echoed.values())} numbers there and"
            f" back; the longest stall was {self.longest:.1f} s; sensors were late by"
            f" {self.late:.1f} s at most",
            f"all was in place {self.converged:.1f} s after the last fault;"
            f" {self.approved} holds of ended tasks were approved",
        ]
