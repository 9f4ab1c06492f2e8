"""The stories in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from demo.stories.forms import read_group
from demo.stories.stage import Stage
from demo.stories.told import before, isolated, shared

ALL = "all"
STORIES: Mapping[str, tuple[Callable[[Stage], None], str]] = {
    "before": (before.tell, before.GROUP),
    "shared": (shared.tell, shared.GROUP),
    "isolated": (isolated.tell, isolated.GROUP),
}


def tell(stage: Stage, story: str = ALL) -> None:
    """One story, or all of them on the same cluster, each after the last one has gone."""
    stage.open()
    chosen = list(STORIES.values()) if story == ALL else [STORIES[story]]
    for number, (tell_one, group) in enumerate(chosen, start=1):
        tell_one(stage)
        if number < len(chosen):
            stage.retire(read_group(group)["id"])
