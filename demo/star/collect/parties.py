"""Who is on the page: every resource and the collector, with the tasks behind them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from demo.star.collect.polling import Answer
from demo.star.collect.resources import Resource
from demo.star.collect.states import Measured
from demo.star.collect.told import IN_SYNC, Facts, Task
from demo.star.fetch import Place, parse_url

DOMAIN = ".marathon.mesos"
OWN_NAMES = ("collect", "collector", "the collector")
#: What an original probe, which does not tell, leaves between two tries.
UNTOLD_AGE = 5.0


@dataclass(frozen=True, slots=True)
class Own:
    """What the collector's own environment tells of it, empty where it does not."""

    app: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """One sender or receiver; the collector has no place.

    `tasks` are those of its app, the one to show first in front. `host` is
    where it is if no task tells; `answers` whether it did when it was `asked`
    last, if it was at all.
    """

    id: str
    app: str
    tasks: tuple[Task, ...]
    place: Place | None
    host: str
    asked: bool
    answers: bool

    @property
    def name(self) -> str:
        """The last part of its app's id, else its own."""
        return self.app.rpartition("/")[2] or self.id


@dataclass(frozen=True, slots=True)
class Try:
    """What one party measured of another, on a port of it."""

    sender: str
    receiver: str
    port: int
    measured: Measured | None


def app_of(resource: Resource) -> str:
    """The app that a name of Mesos-DNS with dots stands for, empty for any other name."""
    host = parse_url(resource.url).host
    if not host.endswith(DOMAIN):
        return ""
    return "/" + "/".join(reversed(host.removesuffix(DOMAIN).split(".")))


def find_parties(
    resources: Iterable[Resource],
    answers: Mapping[str, Answer],
    facts: Facts | None,
    own: Own,
    apps: Mapping[str, str],
) -> tuple[Party, ...]:
    """The collector first, then the resources by id; `apps` is whose each was before, by URL."""
    resources = tuple(resources)
    taken = {resource.id for resource in resources}
    own_name = next((name for name in OWN_NAMES if name not in taken), OWN_NAMES[-1] + "'s own")
    # Beside tasks of which no host is known, its own would tell nothing.
    own_host = own.host if facts is not None else ""
    found = [
        Party(
            id=own_name,
            app=own.app,
            tasks=_tasks(facts, own.app),
            place=None,
            host=own_host,
            asked=True,
            answers=True,
        )
    ]
    for resource in resources:
        place = parse_url(resource.url)
        app = _app_by_place(facts, place) or app_of(resource) or apps.get(resource.url, "")
        answer = answers.get(resource.id)
        found.append(
            Party(
                id=resource.id,
                app=app,
                tasks=_tasks(facts, app),
                place=place,
                host=_host_of(facts, answer.peer if answer is not None else ""),
                asked=answer is not None,
                answers=answer is not None and answer.reached,
            )
        )
    return tuple(found)


def find_tries(
    parties: Iterable[Party], resources: Iterable[Resource], answers: Mapping[str, Answer]
) -> Iterator[Try]:
    """Everything that is measured: by the collector, and as its answers tell by the probes."""
    collector, *probes = parties
    for probe in probes:
        answer = answers.get(probe.id)
        measured = None
        if answer is not None:
            measured = Measured(answer.reached, answer.began, answer.heard)
        if probe.place is not None:
            yield Try(
                sender=collector.id, receiver=probe.id, port=probe.place.port, measured=measured
            )
    by_url = {resource.url: resource.id for resource in resources}
    by_host: dict[str, list[str]] = {}
    for probe in probes:
        if probe.place is not None:
            by_host.setdefault(probe.place.host, []).append(probe.id)
    for probe in probes:
        answer = answers.get(probe.id)
        for url, reached, age in _targets(answer.json if answer is not None else None):
            try:
                place = parse_url(url)
            except ValueError:
                continue
            same_host = by_host.get(place.host, [])
            receiver = by_url.get(url) or (same_host[0] if len(same_host) == 1 else None)
            if answer is None or receiver is None or receiver == probe.id:
                continue
            began = answer.began - (UNTOLD_AGE if age is None else age)
            measured = Measured(reached, began, answer.heard)
            yield Try(sender=probe.id, receiver=receiver, port=place.port, measured=measured)


def _targets(document: object) -> Iterator[tuple[str, bool, float | None]]:
    """`/status` of any probe; whatever is not understood of it is passed over."""
    status = document.get("status") if isinstance(document, dict) else None
    targets = status.get("targets") if isinstance(status, dict) else None
    for each in targets if isinstance(targets, list) else []:
        if not isinstance(each, dict):
            continue
        url, reached, age = each.get("url"), each.get("reachable"), each.get("age")
        if not isinstance(url, str) or not isinstance(reached, bool):
            continue
        if "age" in each and age is None:
            # It was never tried.
            continue
        yield url, reached, float(age) if isinstance(age, int | float) and age >= 0 else None


def _app_by_place(facts: Facts | None, place: Place) -> str:
    """By any form of name that Mesos-DNS gives an app's tasks, or by a task's address."""
    for task in facts.tasks if facts is not None else ():
        labels = list(reversed(task.app.strip("/").split("/")))
        names = {separator.join(labels) + DOMAIN for separator in (".", "-")}
        if place.host in names or (task.address and place.host == task.address):
            return task.app
    return ""


def _tasks(facts: Facts | None, app: str) -> tuple[Task, ...]:
    if facts is None or not app:
        return ()
    tasks = [task for task in facts.tasks if task.app == app]
    return tuple(sorted(tasks, key=lambda task: task.verdict != IN_SYNC))


def _host_of(facts: Facts | None, peer: str) -> str:
    for host in facts.hosts if facts is not None else ():
        if peer and peer in host.addresses:
            return host.name
    return ""
