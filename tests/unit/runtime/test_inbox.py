"""What a loop finds that was held up."""

import threading

from reconciler.runtime.inbox import Inbox


def test_messages_come_in_order_and_once() -> None:
    inbox: Inbox[str] = Inbox()
    for word in ("a", "b", "a"):
        inbox.post(word)

    assert inbox.drain(0) == ("a", "b", "a")
    assert inbox.drain(0) == ()


def test_of_messages_about_one_subject_the_latest_waits_behind_the_others() -> None:
    inbox: Inbox[str] = Inbox(lambda word: word[0] if word[0] != "x" else None)
    for word in ("a1", "x", "b1", "a2", "x"):
        inbox.post(word)

    assert inbox.drain(0) == ("x", "b1", "a2", "x")


def test_a_storm_about_few_subjects_stays_small() -> None:
    inbox: Inbox[int] = Inbox(lambda number: number % 10)
    for number in range(100_000):
        inbox.post(number)

    assert len(inbox.drain(0)) == 10


def test_whoever_waits_is_woken_by_a_message() -> None:
    inbox: Inbox[str] = Inbox()
    threading.Timer(0.05, inbox.post, ("late",)).start()

    assert inbox.drain(30) == ("late",)
