"""Marathon's framework id: pinned by the first answer, and compared from then on."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from calico.cluster import HoldKind, ObjectionRecord
from calico.codec import encode_cluster
from calico.datastore.api import ABSENT, Datastore
from calico.keys import CLUSTER, FRAMEWORK
from marathon_client.errors import MarathonError
from marathon_client.models import Info
from reconciler.controller.pinned import read_pinned
from reconciler.controller.removal.holds import Holds
from reconciler.core.removal.framework import Trust, is_framework, judge_frameworks
from reconciler.core.removal.marathon_upgrade import (
    crosses,
    is_newer,
    parse_version,
    precedes_networks,
)

log = logging.getLogger(__name__)


class Named(Protocol):
    """Whom the controller asks who it is."""

    def info(self) -> Info:
        """Version, framework and leader. Raises MarathonError."""
        ...


class FrameworkPin:
    """Compares who answers with who answered first; one thread owns it."""

    def __init__(self, marathon: Named, datastore: Datastore, holds: Holds) -> None:
        self._marathon = marathon
        self._datastore = datastore
        self._holds = holds
        self._trust: Trust | None = None
        self._published = ""
        self._version = ""
        #: Whether Marathon was upgraded past 1.5, and that is not accepted yet;
        #: None before it said its version.
        self.crosses: bool | None = None

    def ask(self) -> Info | None:
        """What Marathon says of itself at the moment, None if it does not."""
        try:
            return self._marathon.info()
        except MarathonError:
            return None

    def forget(self) -> None:
        """Another Marathon may answer from now on."""
        self._trust = None

    def trust(self) -> Trust:
        """What a single read is worth: found out once for each connection and list.

        Raises CalicoError.
        """
        return self._trust or self.judge(self.ask())

    def judge(self, *told: Info | None, may_pin: bool = True) -> Trust:
        """What an answer is worth, by what Marathon said of itself around it.

        Pins the first framework, if it may, and one that an operator approved;
        another one is held until then. Raises CalicoError.
        """
        self._trust = None
        self._trust = self._judge(told, may_pin=may_pin)
        return self._trust

    def recall(self, objections: Iterable[ObjectionRecord]) -> None:
        """Pin the framework that hosts knew before the store was lost, if nothing is pinned.

        Where they tell of several, none is. Raises CalicoError.
        """
        told = {text for each in objections for key, text in each.entries if key == FRAMEWORK}
        kept = read_pinned(self._datastore) if len(told) == 1 else None
        if kept is None or kept.value.framework or not is_framework(min(told)):
            return
        pinned = replace(kept.value, framework=min(told))
        self._datastore.put(CLUSTER, encode_cluster(pinned), expect=kept.revision)
        log.warning("framework taken over from hosts", extra={"framework": pinned.framework})
        self.forget()

    def note_networks(self) -> None:
        """An app has the form of 1.5: an older version that was told is outdated.

        Raises CalicoError.
        """
        if precedes_networks(self._version):
            self.judge(self.ask())

    def accept_version(self) -> None:
        """What the upgrade did to apps is settled; raises CalicoError."""
        kept = read_pinned(self._datastore)
        if kept is None:
            return
        pinned = replace(kept.value, marathon=self._version)
        self._datastore.put(CLUSTER, encode_cluster(pinned), expect=kept.revision)
        self.crosses = False
        log.info("Marathon's upgrade accepted", extra={"version": self._version})

    def _judge(self, told: tuple[Info | None, ...], *, may_pin: bool) -> Trust:
        kept = read_pinned(self._datastore)
        if kept is None or not (kept.value.framework or may_pin):
            return Trust.UNTOLD
        record = kept.value
        ids = [None if each is None else each.framework_id for each in told]
        found = judge_frameworks(record.framework, ids)
        match found.trust:
            case Trust.FOREIGN if self._holds.approves(HoldKind.FRAMEWORK, [found.framework]):
                log.warning(
                    "framework adopted",
                    extra={"framework": found.framework, "before": record.framework},
                )
            case Trust.FOREIGN:
                reason = (
                    f"Marathon answers as framework {found.framework}, "
                    f"but this cluster is that of {record.framework}: check --marathon"
                )
                self._holds.hold(HoldKind.FRAMEWORK, [found.framework], reason)
                return Trust.FOREIGN
            case Trust.UNTOLD:
                # Who was foreign is so until it says otherwise.
                is_held = any(each.kind is HoldKind.FRAMEWORK for each in self._holds.records)
                return Trust.FOREIGN if is_held else Trust.UNTOLD
            case Trust.OURS:
                pass
        self._version = max((each.version for each in told if each is not None), key=_numbers)
        self.crosses = crosses(record.marathon, self._version)
        newer = is_newer(record.marathon, self._version) and not self.crosses
        pinned = replace(
            record,
            framework=found.framework,
            marathon=self._version if newer else record.marathon,
        )
        if pinned != record:
            self._datastore.put(CLUSTER, encode_cluster(pinned), expect=kept.revision)
            log.info(
                "Marathon pinned",
                extra={"framework": pinned.framework, "version": pinned.marathon},
            )
        self._publish(pinned.framework)
        self._holds.end(HoldKind.FRAMEWORK)
        return Trust.OURS

    def _publish(self, framework: str) -> None:
        """Have agents know it, who tell it where the store is lost."""
        if framework == self._published:
            return
        stored = self._datastore.get(FRAMEWORK)
        if stored is None or stored.value != framework:
            expect = ABSENT if stored is None else stored.revision
            self._datastore.put(FRAMEWORK, framework, expect=expect)
        self._published = framework


def _numbers(version: str) -> tuple[int, int, int]:
    return parse_version(version) or (0, 0, 0)
