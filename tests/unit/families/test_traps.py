"""Every trap is in the table once, and has its test."""

import importlib
from collections import Counter

from tests.unit.families.traps import TRAPS

#: How many traps each part of the data model has.
MARKED = {
    "1.1": 2,
    "1.2": 4,
    "1.4": 1,
    "1.6": 1,
    "1.7": 8,
    "1.9": 1,
    "1.10": 3,
    "2.1": 6,
    "3.3": 2,
    "3.6": 1,
    "3.7": 1,
    "3.8": 1,
    "3.10": 1,
    "4.2": 1,
    "4.3": 1,
}


def test_no_trap_is_missing_from_the_table() -> None:
    assert Counter(trap.place for traps in TRAPS.values() for trap in traps) == MARKED


def test_every_trap_has_one_test_and_every_test_a_trap() -> None:
    for module, traps in TRAPS.items():
        found = vars(importlib.import_module(f"tests.unit.families.{module}"))
        tests = [name for name in found if name.startswith("test_")]
        assert sorted(tests) == sorted(trap.test for trap in traps)


def test_no_two_traps_are_one() -> None:
    names = [trap.name for traps in TRAPS.values() for trap in traps]
    assert len(set(names)) == len(names)
