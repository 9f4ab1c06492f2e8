"""Which Marathon the stand-in is: the differences between versions, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Era:
    """A Marathon version, major and minor."""

    major: int
    minor: int

    @property
    def uses_networks(self) -> bool:
        """Apps have `networks`; `ipAddress` is translated and its groups are lost."""
        return self >= Era(1, 5)

    @property
    def has_instances(self) -> bool:
        """Instances change with events of their own; STAGING is announced."""
        return self >= Era(1, 4)

    @property
    def reports_task_state(self) -> bool:
        """Tasks carry `state` over REST."""
        return self >= Era(1, 1)

    @property
    def filters_events(self) -> bool:
        """`event_type` is honoured."""
        return self >= Era(1, 3)

    @property
    def outstanding_events(self) -> int:
        """How many events wait for one slow client."""
        return 1024 if self >= Era(1, 5) else 50

    @property
    def closes_slow_streams(self) -> bool:
        """A client that falls behind is cut off; before, it silently missed events."""
        return self >= Era(1, 8)

    @property
    def action_key(self) -> str:
        """The name of an action's kind in deployments."""
        return "action" if self >= Era(1, 4) else "type"

    @property
    def content_type(self) -> str:
        """The media type of replies, as servers up to 1.4 spelt it."""
        return "application/json" if self >= Era(1, 5) else "application/json; qs=2"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


DEFAULT_ERA = Era(1, 4)


def parse_era(text: str) -> Era:
    """`1.4` or `1.4.13` to an era; ValueError for anything else."""
    parts = text.split(".")
    if len(parts) < 2:
        raise ValueError(f"not a version of Marathon: {text!r}")
    return Era(int(parts[0]), int(parts[1]))
