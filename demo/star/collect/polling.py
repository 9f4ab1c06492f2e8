"""Asks every resource side by side, and keeps what each answered last."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from demo.star.collect.resources import (
    MOST_RESOURCES,
    BadResourceError,
    Resource,
    parse_json,
)
from demo.star.fetch import FetchFailedError, fetch
from demo.star.repeating import Repeating

EVERY_SECONDS = 0.5
ASK_SECONDS = 1.0
LARGEST_STATUS = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resource answered to the question that was put at `began`.

    `peer` is the address that answered. Without a status nobody did, or with
    what is not JSON, which the original does not count as an answer either;
    `reached` tells the two apart. The answer was complete at `heard`.
    """

    began: float
    heard: float
    status: int | None = None
    json: object = None
    peer: str = ""
    reached: bool = False


class TooManyError(Exception):
    """There is no room for another resource."""


class Poller:
    """The resources, their newest answers, and one thread that asks for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: dict[Resource, Repeating] = {}
        self._by_id: dict[str, Resource] = {}
        self._answers: dict[Resource, Answer] = {}

    def keep(self, resources: Iterable[Resource]) -> None:
        """Ask these too from now on; one of the same id takes the place of the other."""
        for resource in resources:
            with self._lock:
                if self._by_id.get(resource.id) == resource:
                    continue
                if resource.id not in self._by_id and len(self._by_id) >= MOST_RESOURCES:
                    raise TooManyError(f"there are {MOST_RESOURCES} resources already")
                self._forget(resource.id)
                self._by_id[resource.id] = resource
                asking = Repeating(_Asking(self, resource), EVERY_SECONDS, "resource")
                self._asking[resource] = asking
            asking.start()

    def drop(self, name: str) -> bool:
        """Ask it no more; False if there is none of that id."""
        with self._lock:
            return self._forget(name)

    def resources(self) -> tuple[Resource, ...]:
        """All of them, by id."""
        with self._lock:
            return tuple(self._by_id[name] for name in sorted(self._by_id))

    def answers(self) -> Mapping[str, Answer]:
        """The newest answer of each that was asked at least once, by id."""
        with self._lock:
            return {each.id: answer for each, answer in sorted(self._answers.items(), key=_id_of)}

    def take(self, resource: Resource, answer: Answer) -> None:
        """Note what one answered; what came too late for a dropped one is passed over."""
        with self._lock:
            if resource in self._asking:
                self._answers[resource] = answer

    def _forget(self, name: str) -> bool:
        resource = self._by_id.pop(name, None)
        if resource is None:
            return False
        self._asking.pop(resource).stop()
        self._answers.pop(resource, None)
        return True


class _Asking:
    """One resource is asked once."""

    def __init__(self, poller: Poller, resource: Resource) -> None:
        self._poller = poller
        self._resource = resource

    def __call__(self) -> None:
        self._poller.take(self._resource, ask(self._resource.url))


def ask(url: str) -> Answer:
    """What a URL answers now."""
    began = time.monotonic()
    try:
        fetched = fetch(url, ASK_SECONDS, LARGEST_STATUS)
    except FetchFailedError:
        return Answer(began, time.monotonic())
    heard = time.monotonic()
    try:
        document = parse_json(fetched.body)
    except BadResourceError:
        return Answer(began, heard, peer=fetched.peer, reached=True)
    return Answer(
        began=began,
        heard=heard,
        status=fetched.status,
        json=document,
        peer=fetched.peer,
        reached=True,
    )


def _id_of(entry: tuple[Resource, Answer]) -> str:
    return entry[0].id
