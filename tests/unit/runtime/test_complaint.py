"""What lasts is told once, and again when it comes back."""

import logging

import pytest

from reconciler.runtime.complaint import Complaint

log = logging.getLogger(__name__)


def test_a_reason_is_told_when_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    # given
    complaint = Complaint(log, "not read")
    # when
    for why in ("no right", "no right", "gone", "gone", "no right"):
        complaint.tell(why)
    complaint.over()
    complaint.tell("no right")
    # then
    assert [vars(each)["why"] for each in caplog.records] == [
        "no right",
        "gone",
        "no right",
        "no right",
    ]
    assert {each.getMessage() for each in caplog.records} == {"not read"}


def test_what_is_nothing_unusual_is_told_less_loudly_and_of_what_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    Complaint(log, "left alone", app="/agents").tell("as many as there are agents", logging.INFO)
    (told,) = caplog.records
    assert (told.levelno, vars(told)["app"]) == (logging.INFO, "/agents")
