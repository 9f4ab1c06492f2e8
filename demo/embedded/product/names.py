"""The product's own processes as tasks of Marathon: by which names they are meant here."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

GROUP = "/marathon-calico"
CONTROLLERS = 2
_NAME = re.compile(r"(controller|agent)(?:-(host-\d+))?")


@dataclass(frozen=True, slots=True)
class ProductTask:
    """A task of one of our apps, by the name that the supervisor would give it.

    Without a `host` all of the app's tasks are meant.
    """

    name: str
    app_id: str
    host: str | None

    def command(self, what: str, *more: str) -> tuple[str, ...]:
        """The command line that asks its host about it."""
        return (sys.executable, "-m", "demo.embedded.product.on_host", what, self.app_id, *more)


def parse_name(name: str) -> ProductTask | None:
    """What `controller`, `agent-host-1` and their like mean; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return ProductTask(name, f"{GROUP}/{match.group(1)}", match.group(2))


def name_task(app_id: str, host: str) -> str:
    """The name of the task that an app has on a host."""
    return f"{app_id.removeprefix(GROUP + '/')}-{host}"


def explain(task: ProductTask) -> str:
    """Why the supervisor neither starts nor stops it."""
    return (
        f"{task.name} runs as a task of the Marathon app {task.app_id}, which Marathon keeps "
        f"running: `kill` ends it for a moment, PUT $MARATHON_URL/v2/apps{task.app_id} changes "
        "it; a cluster that was started with --supervised starts and stops it here"
    )
