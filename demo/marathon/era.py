"""Which Marathon the stand-in is: the differences between versions, by name.

A version without its third number is the last of its line.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

#: Behind every third number that was ever given out.
LAST = 99999
LAST_OF_LINE = {
    (0, 14): 3,
    (0, 15): 7,
    (1, 1): 7,
    (1, 3): 14,
    (1, 4): 13,
    (1, 5): 15,
    (1, 6): 590,
    (1, 7): 236,
    (1, 8): 244,
    (1, 9): 109,
}
_KNOWN = (
    f"write one of {', '.join(f'{major}.{minor}' for major, minor in LAST_OF_LINE)}, or one in full"
)
_VERSION = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}(\.[0-9]{1,4})?")


class PlanForm(enum.Enum):
    """Whether deployment events carry the two group trees of their plan."""

    FULL = "full"
    ON_REQUEST = "on request"
    LIGHT_UNLESS_FULL = "light unless full"
    LIGHT = "light"


@dataclass(frozen=True, slots=True, order=True)
class Era:
    """A version of Marathon."""

    major: int
    minor: int
    patch: int = LAST

    def since(self, major: int, minor: int, patch: int = 0) -> bool:
        """True for that version and all later ones."""
        return (self.major, self.minor, self.patch) >= (major, minor, patch)

    # What apps and their networks look like.

    @property
    def uses_networks(self) -> bool:
        """Apps have `networks`; `ipAddress` is translated and its groups are lost."""
        return self.since(1, 5)

    @property
    def names_networks(self) -> bool:
        """`ipAddress.networkName` is known."""
        return self.since(1, 3)

    @property
    def labels_ports(self) -> bool:
        """Discovery ports keep labels, and their names must fit a pattern."""
        return self.since(1, 1)

    @property
    def has_port_definitions(self) -> bool:
        """Apps on the host's network have `portDefinitions` beside `ports`."""
        return self.since(1, 1)

    @property
    def has_gpus(self) -> bool:
        """Apps have `gpus` and `secrets`."""
        return self.since(1, 3)

    @property
    def checks_from_executor(self) -> bool:
        """The executor can do HTTP and TCP checks, as MESOS_HTTP and MESOS_TCP."""
        return self.since(1, 4)

    # What tasks look like.

    @property
    def reports_task_state(self) -> bool:
        """Tasks carry `state` over REST."""
        return self.since(1, 1)

    @property
    def hides_addresses(self) -> bool:
        """The defect of 0.15: REST tells no addresses although Mesos named some."""
        return (self.major, self.minor) == (0, 15)

    @property
    def tells_regions(self) -> bool:
        """Tasks carry the region and the zone of their host."""
        return self.since(1, 6)

    @property
    def has_roles(self) -> bool:
        """Tasks carry the role whose resources they use."""
        return self.since(1, 9)

    @property
    def numbers_incarnations(self) -> bool:
        """Task ids are those of their instance, with a name and a number behind."""
        return self.since(1, 8)

    @property
    def has_instances(self) -> bool:
        """Instances change with events of their own; STAGING is announced; pods exist."""
        return self.since(1, 4)

    # The event stream.

    @property
    def filters_events(self) -> bool:
        """`event_type` is honoured."""
        return self.since(1, 3, 7)

    @property
    def plan_form(self) -> PlanForm:
        """What of a plan deployment events carry."""
        if self.since(1, 8):
            return PlanForm.LIGHT
        if self.since(1, 7):
            return PlanForm.LIGHT_UNLESS_FULL
        asked = self.since(1, 6, 322) or (1, 5, 9) <= (self.major, self.minor, self.patch) < (1, 6)
        return PlanForm.ON_REQUEST if asked else PlanForm.FULL

    @property
    def outstanding_events(self) -> int:
        """How many events wait for one slow client."""
        return 1024 if self.since(1, 5) else 50

    @property
    def closes_slow_streams(self) -> bool:
        """A client that falls behind is cut off; before, it silently missed events."""
        return self.since(1, 8)

    @property
    def redirects_streams(self) -> bool:
        """A standby sends who asks for the stream to the leader; before, it carried it."""
        return self.since(1, 7, 50)

    @property
    def names_missing_addresses(self) -> bool:
        """Events carry an empty list where Mesos named no address."""
        return not self.since(1, 1) or self.since(1, 4)

    # REST.

    @property
    def patches(self) -> bool:
        """PATCH is a method of apps."""
        return self.since(1, 4)

    @property
    def has_callbacks(self) -> bool:
        """Events can be had as requests to a URL: /v2/eventSubscriptions."""
        return not self.since(1, 5)

    @property
    def without_leader(self) -> int:
        """The status that a server answers which knows of no leader."""
        return 502 if self.since(1, 7, 200) else 503

    @property
    def action_key(self) -> str:
        """The name of an action's kind in deployments."""
        return "action" if self.since(1, 4) else "type"

    @property
    def details_errors(self) -> bool:
        """A body that cannot be is answered with paths; before, with attributes."""
        return self.since(1, 1)

    @property
    def content_type(self) -> str:
        """The media type of replies, as servers up to 1.4 spelt it."""
        return "application/json" if self.since(1, 5) else "application/json; qs=2"

    @property
    def version(self) -> str:
        """All three numbers, as the server names itself."""
        patch = self.patch
        if patch == LAST:
            patch = LAST_OF_LINE.get((self.major, self.minor), 0)
        return f"{self.major}.{self.minor}.{patch}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


DEFAULT_ERA = Era(1, 4)


def parse_era(text: str) -> Era:
    """`1.4` or `1.4.13` to an era; ValueError for what no Marathon of a known line was called."""
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no version: {_KNOWN}")
    era = Era(*map(int, text.split(".")))
    last = LAST_OF_LINE.get((era.major, era.minor))
    if last is None:
        raise ValueError(f"{text!r} is not known: {_KNOWN}")
    if last < era.patch != LAST:
        raise ValueError(f"{text!r} is not known: {era} ends with {era}.{last}")
    return era
