"""One page, kept open, while the embedded cluster goes through everything that is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from demo.stories.forms import read_group
from demo.stories.rest import Json
from demo.stories.stage import Stage
from tests.browser.conftest import DESK, playwright
from tests.browser.test_page import NOTE_STATES, cell
from tests.cluster.harness import START_SECONDS, Drive, launched
from tests.cluster.storytelling import quiet

PATIENCE_MS = 25_000
HOSTS = {"host-1", "host-2"}
PAIRS = {(one, other) for one in "ABCD" for other in "ABCD" if one != other} | {
    ("collect", other) for other in "ABCD"
}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A cluster whose hosts are ready and on which nothing runs yet."""
    with launched() as running, Drive.of(running.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        stage = quiet(drive)
        stage.open()
        yield stage


@pytest.fixture
def page(browser: playwright.Browser, stage: Stage) -> Iterator[playwright.Page]:
    """The page at the port that the cluster forwards; what its scripts throw fails the test."""
    errors: list[str] = []
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    # Refused requests while no collector runs are no errors of the page's.
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(stage.cluster.star_url)
    yield page
    context.close()
    assert errors == []


def expect_pairs(page: playwright.Page, allowed: set[tuple[str, str]]) -> None:
    """Every pair of the matrix is as it should be, and these are reached."""
    for pair in sorted(PAIRS):
        state = "ok-allowed" if pair in allowed else "ok-denied"
        page.wait_for_selector(f"{cell(*pair)}[data-state={state}]")
    page.wait_for_selector("#summary[data-level=ok]")
    assert page.inner_text("#summary") == f"All {len(PAIRS)} pairs are as they should be"


def reach_within(*groups: str) -> set[tuple[str, str]]:
    """All pairs within these groups, and what the collector reaches, which is in all."""
    return {
        (one, other) for one, other in PAIRS if any({one, other} <= set(each) for each in groups)
    } | {("collect", other) for other in "ABCD"}


def nodes(page: playwright.Page) -> Mapping[str, playwright.Locator]:
    return {each: page.locator(f".node[data-task={each}]") for each in (*"ABCD", "collect")}


def why(page: playwright.Page, sender: str, receiver: str, *told: str) -> None:
    """A click on a pair shows what the product says of it."""
    page.click(cell(sender, receiver))
    for words in told:
        playwright.expect(page.locator("#why pre")).to_contain_text(words, timeout=PATIENCE_MS)


def with_groups(group: Json, app: str, *groups: str) -> Json:
    (found,) = (each for each in group["apps"] if each["id"] == app)
    return {"ipAddress": {**found["ipAddress"], "groups": list(groups)}}


def test_the_stories_a_regroup_and_a_death_are_seen(stage: Stage, page: playwright.Page) -> None:
    assert page.inner_text("h1") == "No collector runs"
    before, shared, isolated = map(read_group, ("star-before", "star", "star-iso"))

    # The page that waits becomes Star's by itself, and stays open from here on.
    stage.deploy(before)
    page.wait_for_selector("td[data-from]")
    page.evaluate(NOTE_STATES)
    # The collector reaches both probes, and they each other.
    playwright.expect(page.locator("td[data-state=reached]")).to_have_count(4, timeout=PATIENCE_MS)
    running = page.locator(".node[data-ring=measured]:not([data-task=collect])")
    assert {each.get_attribute("data-host") for each in running.all()} == HOSTS
    # The others wait, and are neither counted nor said to be silent.
    assert page.locator("[data-host-box='Waiting for a host']").count() == 1
    playwright.expect(page.locator(".node[data-ring=waiting]")).to_have_count(2)
    playwright.expect(page.locator("#summary")).to_have_text(
        "4 of 4 pairs reached · 2 tasks wait for a host"
    )
    assert page.locator(".node[data-ring=gone]").count() == 0
    assert page.locator("[data-host-box='Not answering']").count() == 0
    notes = [each.get_attribute("title") for each in page.locator("td[data-state=no-data]").all()]
    assert notes
    assert all("for an offer with a free port 9000" in (note or "") for note in notes)
    stage.retire(before["id"])
    page.wait_for_selector("#stale:not([hidden])")

    stage.deploy(shared)
    page.wait_for_selector("#stale", state="hidden")
    expect_pairs(page, PAIRS)
    assert {one.get_attribute("data-host") for one in nodes(page).values()} == HOSTS
    assert {one.get_attribute("data-groups") for one in nodes(page).values()} == {"public"}
    assert "192.168.255.253" in (nodes(page)["collect"].text_content() or "")
    why(page, "A", "C", "ALLOWED", "public")
    stage.retire(shared["id"])

    stage.deploy(isolated)
    expect_pairs(page, reach_within("AB", "CD"))
    assert nodes(page)["B"].get_attribute("data-groups") == "star-1"
    assert nodes(page)["collect"].get_attribute("data-groups") == "star-1 star-2 public"
    assert "192.168.255.252" in (nodes(page)["collect"].text_content() or "")
    why(page, "A", "C", "DENIED", "kernel")

    # A live regroup: the chosen pair is asked about anew.
    stage.marathon.put_app("/star-iso/probe-b", with_groups(isolated, "probe-b", "star-2"))
    expect_pairs(page, reach_within("BCD"))
    assert nodes(page)["B"].get_attribute("data-groups") == "star-2"
    moved = page.locator("#timeline li", has_text="star-1 → star-2")
    playwright.expect(moved.locator(".settled")).to_contain_text("settled in")
    why(page, "B", "D", "ALLOWED", "star-2")

    # A death: Marathon starts another task, which the page sets in its place.
    old = nodes(page)["D"].get_attribute("data-task-id")
    (dying,) = stage.watcher.look(verdicts=False).actors_of("/star-iso/probe-d")
    assert dying.task_id == old
    killed = stage.cluster.run("master", ("kill", "-KILL", str(dying.pid)))
    assert killed.returncode == 0, killed.stderr
    page.locator("#timeline li", has_text="probe-d ended on host-").wait_for()
    page.wait_for_selector(f".node[data-task=D][data-ring=ok]:not([data-task-id='{old}'])")
    expect_pairs(page, reach_within("BCD"))

    # And for good: nobody reaches it, and it is no fault of anybody's.
    stage.marathon.delete_app("/star-iso/probe-d")
    page.wait_for_selector(".node[data-task=D][data-ring=gone]")
    page.wait_for_selector(f"{cell('B', 'D')}[data-state=no-data]")
    page.wait_for_selector(f"{cell('B', 'C')}[data-state=ok-allowed]")
    # Through all of this the page has cried wolf not once.
    seen = set(page.evaluate("[...window.seenStates]"))
    assert seen >= {"settling", "ok-allowed", "ok-denied", "no-data"}
    assert not seen & {"LEAK", "BROKEN"}
