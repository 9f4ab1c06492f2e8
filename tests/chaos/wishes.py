"""Asks Marathon for the apps of a chaos run, and goes on asking until it has agreed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from demo.stories.forms import NETWORK
from demo.stories.rest import MarathonApi, MarathonRefusedError
from tests.chaos.actions import Wish
from tests.chaos.watched import ATTACHED_VARIABLE, FLOW_PORT, GROUPS_VARIABLE, PROBE_PORT

GROUP = "/chaos"
AGAIN_SECONDS = 0.5


def render_app(wish: Wish) -> dict[str, Any]:
    """The app that a wish asks for."""
    ports = [
        {"name": "probes", "number": PROBE_PORT, "protocol": "udp"},
        {"name": "flows", "number": FLOW_PORT, "protocol": "tcp"},
    ]
    network = {"networkName": NETWORK} if wish.attached else {}
    return {
        "id": wish.app,
        "cmd": "star-probe --port 9000",
        "cpus": 0.1,
        "mem": 32.0,
        "instances": wish.instances,
        "env": {
            GROUPS_VARIABLE: ",".join(wish.groups),
            ATTACHED_VARIABLE: "yes" if wish.attached else "",
        },
        "ipAddress": {**network, "groups": list(wish.groups), "discovery": {"ports": ports}},
    }


def render_group(wishes: Mapping[str, Wish]) -> dict[str, Any]:
    """The group that has just what is wished for."""
    apps = [render_app(wish) for wish in wishes.values() if wish.instances]
    return {"id": GROUP, "apps": apps}


class Wishes:
    """What Marathon is to run; a thread of its own asks, since Marathon may be away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wishes: dict[str, Wish] = {}
        self._changed = threading.Condition()
        self._open = True
        self._asked = True
        self._thread = threading.Thread(target=self._ask, name="wishes", daemon=True)

    def __enter__(self) -> Wishes:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def make(self, *wishes: Wish) -> None:
        """From now on this is wished for."""
        with self._changed:
            self._wishes |= {wish.app: wish for wish in wishes}
            self._asked = False
            self._changed.notify_all()

    @property
    def instances(self) -> int:
        """How many tasks there are to be."""
        with self._changed:
            return sum(wish.instances for wish in self._wishes.values())

    @property
    def heard(self) -> bool:
        """Whether Marathon has agreed to the last of them."""
        with self._changed:
            return self._asked

    def _ask(self) -> None:
        with MarathonApi(self._url) as marathon:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: not (self._open and self._asked))
                    if not self._open:
                        return
                    group = render_group(self._wishes)
                    self._asked = True
                try:
                    marathon.put_group(group)
                except MarathonRefusedError:
                    with self._changed:
                        self._asked = False
                        self._changed.wait(AGAIN_SECONDS)
