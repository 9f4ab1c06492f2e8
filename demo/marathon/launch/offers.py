"""What became of the hosts that were looked at for an app's next instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from demo.mesos.records import AppId, HostName, Json

CONSTRAINT = "UnfulfilledConstraint"
PORTS = "InsufficientPorts"
#: In the order in which Marathon looks at an offer. Hosts lack nothing but ports here.
REASONS = (
    "UnfulfilledRole",
    CONSTRAINT,
    "NoCorrespondingReservationFound",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    PORTS,
)


@dataclass(frozen=True, slots=True)
class Declined:
    """A host that could not take an instance, and why."""

    host: HostName
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Every host that was looked at for an app since it began to wait."""

    since: str
    processed: int = 0
    declined: Counter[str] = field(default_factory=Counter)
    last: tuple[Declined, ...] = ()
    unused_at: str | None = None
    used_at: str | None = None


class Offers:
    """The summaries of all apps that wait for a host, or did until they got one."""

    def __init__(self) -> None:
        self._summaries: dict[AppId, Summary] = {}

    def looked(self, app_id: AppId, declined: Sequence[Declined], placed: bool, when: str) -> None:
        """One attempt to place an instance: these hosts were no good, then one was or not."""
        before = self._summaries.get(app_id, Summary(when))
        self._summaries[app_id] = replace(
            before,
            processed=before.processed + len(declined) + placed,
            declined=before.declined + Counter(each.reason for each in declined),
            last=tuple(declined),
            unused_at=when if declined else before.unused_at,
            used_at=when if placed else before.used_at,
        )

    def forget(self, app_id: AppId) -> None:
        """The app waits for nothing, or asks for something else."""
        self._summaries.pop(app_id, None)

    def render(self, app_id: AppId, now: str, with_offers: bool) -> Json:
        """What a row of `/v2/queue` says about offers, since 1.4."""
        summary = self._summaries.get(app_id, Summary(now))
        row: Json = {
            "since": summary.since,
            "processedOffersSummary": {
                "processedOffersCount": summary.processed,
                "unusedOffersCount": summary.declined.total(),
                "rejectSummaryLastOffers": _funnel(
                    Counter(each.reason for each in summary.last), len(summary.last)
                ),
                "rejectSummaryLaunchAttempt": _funnel(summary.declined, summary.processed),
            },
        }
        moments = {"lastUnusedOfferAt": summary.unused_at, "lastUsedOfferAt": summary.used_at}
        row["processedOffersSummary"] |= {key: at for key, at in moments.items() if at is not None}
        if with_offers:
            row["lastUnusedOffers"] = [
                {
                    "offer": {
                        "id": f"{each.host}-O0",
                        "agentId": "",
                        "hostname": each.host,
                        "resources": [],
                        "attributes": [],
                    },
                    "timestamp": summary.unused_at,
                    "reason": [each.reason],
                }
                for each in summary.last
            ]
        return row


def _funnel(declined: Counter[str], processed: int) -> list[Json]:
    """How many came to each question, and how many did not get past it."""
    rows = []
    for reason in REASONS:
        rows.append({"reason": reason, "declined": declined[reason], "processed": processed})
        processed -= declined[reason]
    return rows
