"""What other programs filter by reaches the loop when it changes."""

import logging

import pytest

from calico.dataplane.foreign.rules import Act, ForeignRules, ForeignTable
from calico.dataplane.memory import MemoryFirewalls
from calico.errors import DataplaneError
from reconciler.agent.observation.surveyor import Surveyor
from reconciler.agent.reconciliation.passes import Surveyed

CLOSED = ForeignRules(
    (ForeignTable("iptables", "ip", "filter", {"FORWARD": ()}, {"FORWARD": Act.DROP}),)
)


def test_only_changes_are_told() -> None:
    told: list[Surveyed] = []
    firewalls = MemoryFirewalls()
    surveyor = Surveyor(firewalls, told.append)

    surveyor.survey()
    assert told == []

    firewalls.rules = CLOSED
    surveyor.survey()
    surveyor.survey()
    assert told == [Surveyed(CLOSED)]

    firewalls.rules = ForeignRules()
    surveyor.survey()
    assert told[1:] == [Surveyed(ForeignRules())]


def test_a_firewall_that_cannot_be_read_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(MemoryFirewalls):
        def read(self) -> ForeignRules:
            raise DataplaneError("no right to read")

    told: list[Surveyed] = []
    surveyor = Surveyor(Refusing(), told.append)
    with caplog.at_level(logging.WARNING):
        surveyor.survey()
        surveyor.survey()

    assert told == []
    assert [record.message for record in caplog.records] == ["other programs' firewalls not read"]
