"""What a page shows of tasks that end, of hostile names, and without facts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import PATIENCE_MS, Opener, playwright
from tests.star_world import StarWorld, star_world, wait_until

HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture
def world() -> Iterator[StarWorld]:
    """One for each test: they leave nothing as it was."""
    with star_world() as running:
        yield running


def test_the_death_of_a_task_is_seen(world: StarWorld, opened: Opener) -> None:
    world.settle()
    page = opened(world.page)
    page.wait_for_selector("#summary[data-level=ok]")
    world.probes["d"].kill()
    for other in "abc":
        world.shut(other, "d")
    del world.told.tasks["d"]
    page.wait_for_selector(".node[data-task=D][data-ring=gone]")
    page.wait_for_selector("td[data-from=A][data-to=D][data-state=no-data]")
    page.wait_for_selector("td[data-from=D][data-to=A][data-state=no-data]")
    page.wait_for_selector("td[data-from=A][data-to=B][data-state=ok-allowed]")
    assert page.locator("[data-host-box='Not answering']").count() == 1
    entry = page.locator("#timeline li", has_text="probe-d ended on host-2")
    playwright.expect(entry.locator(".settled")).to_contain_text("settled in")
    assert page.locator("#timeline li[data-kind=BROKEN]").count() == 0


def test_hostile_names_are_text_and_nothing_else(world: StarWorld, opened: Opener) -> None:
    app = f"/star-iso/{HOSTILE}".replace("/star-iso/<", "/star-iso/x<")
    world.task("d", [HOSTILE, "</pattern><script>"], app=app, host=HOSTILE, reason=HOSTILE)
    answer = world.add(HOSTILE, f"http://127.0.31.77:{world.port['d']}/{HOSTILE[1:4]}")
    assert answer.status == 201
    page = opened(world.page)
    page.wait_for_selector(f'.node[data-task="{HOSTILE}"]')
    page.locator(f'td[data-from=A][data-to="{HOSTILE}"]').click()
    playwright.expect(page.locator("#groups")).to_contain_text("</pattern>")
    playwright.expect(page.locator("#why .pair")).to_contain_text("<img")
    assert page.locator("main img, main script").count() == 0
    # What it is called like may be a leak by now, which is no fault of its name.
    assert page.title().endswith("Star")
    wait_until(lambda: "x<img" in page.locator("#matrix").inner_text(), "its app is shown")


def test_a_policy_stops_what_is_slipped_in(world: StarWorld, opened: Opener) -> None:
    page = opened(world.page, may_complain=True)
    slip = """
      (markup) => new Promise((done) => {
        document.addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));
        const inside = document.createElement('div');
        document.body.append(inside);
        inside.innerHTML = markup;
      })
    """
    assert page.evaluate(slip, '<p style="color:red">x</p>').startswith("style-src")
    assert page.evaluate(slip, "<img src=x onerror='1'>").startswith("script-src")
    assert page.evaluate(slip, "<img src='http://127.0.0.1:1/x'>").startswith("img-src")


def test_without_facts_links_are_shown_as_measured(opened: Opener) -> None:
    with star_world(facts=False) as world:
        page = opened(world.page)
        page.wait_for_selector("td[data-from=A][data-to=B][data-state=reached]")
        page.wait_for_selector("td[data-from=A][data-to=C][data-state=not-reached]")
        playwright.expect(page.locator("#summary")).to_have_text("8 of 16 pairs reached")
        page.click("td[data-from=A][data-to=C]")
        playwright.expect(page.locator("#why pre")).to_contain_text("--facts")


def test_a_collector_that_starts_anew_is_followed_again(world: StarWorld, opened: Opener) -> None:
    world.settle()
    page = opened(world.page, may_complain=True)
    page.wait_for_selector("#summary[data-level=ok]")
    world.collector.kill()
    world.collector.wait()
    page.wait_for_selector("#stale:not([hidden])")
    world.start_collector()
    page.wait_for_selector("#stale", state="hidden")
    page.wait_for_selector("#summary[data-level=ok]")


def test_changes_of_a_new_collector_are_not_taken_for_those_of_the_old(
    world: StarWorld, opened: Opener
) -> None:
    world.settle()
    page = opened(world.page, may_complain=True)
    page.wait_for_selector("#summary[data-level=ok]")
    world.open("a", "c")
    page.wait_for_selector("#timeline li[data-kind=LEAK]")
    world.collector.kill()
    world.collector.wait()
    world.shut("a", "c")
    world.start_collector()
    world.settle()
    world.open("b", "c")
    entries = page.locator("#timeline li[data-kind=LEAK] .what")
    playwright.expect(entries).to_have_text(
        ["LEAK probe-b reaches probe-c, which it should not"], timeout=PATIENCE_MS
    )
