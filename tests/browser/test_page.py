"""The page as someone sees and uses it."""

from __future__ import annotations

import re

from tests.browser.conftest import PATIENCE_MS, PHONE, Opener, playwright
from tests.star_world import StarWorld

CONTRAST = """
() => {
  const parse = (text) => (text.match(/[0-9.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      layers.push([r, g, b, a]);
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [high, low] = [light(one), light(two)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *:not(svg):not(svg *)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const found = ratio(parse(getComputedStyle(element).color), ground(element));
    if (found < 4.5) poor.push(`${element.className || element.tagName} ${found.toFixed(2)}`);
  }
  return poor;
}
"""

NOTE_STATES = """
() => {
  window.seenStates = new Set();
  new MutationObserver((changes) => {
    for (const { target } of changes) window.seenStates.add(target.dataset.state);
  }).observe(document.getElementById('matrix'), { subtree: true, attributeFilter: ['data-state'] });
}
"""


def cell(sender: str, receiver: str) -> str:
    return f"td[data-from='{sender}'][data-to='{receiver}']"


def link(sender: str, receiver: str, state: str) -> str:
    """In either direction, since one line may stand for both."""
    return ",".join(
        f"#network .link[data-from='{one}'][data-to='{two}'][data-state='{state}']"
        for one, two in ((sender, receiver), (receiver, sender))
    )


def disagree(world: StarWorld, page: playwright.Page) -> None:
    """One pair leaks and one is broken."""
    world.open("a", "c")
    world.shut("a", "b")
    page.wait_for_selector(f"{cell('A', 'C')}[data-state=LEAK]")
    page.wait_for_selector(f"{cell('A', 'B')}[data-state=BROKEN]")


def agree(world: StarWorld) -> None:
    for pair in world.pairs:
        world.agree(*pair)
    world.settle()


def test_each_task_stands_in_its_host_with_all_of_its_groups(page: playwright.Page) -> None:
    nodes = {
        node.get_attribute("data-task"): (
            node.get_attribute("data-host"),
            node.get_attribute("data-groups"),
        )
        for node in page.query_selector_all("#network .node")
    }
    assert nodes["A"] == ("host-1", "star-1")
    assert nodes["D"] == ("host-2", "star-2")
    assert nodes["collect"] == ("host-2", "star-1 star-2 public")
    assert page.locator(".node[data-task=collect] .wedge").count() == 3
    assert page.locator(".node[data-task=A] .node-groups").text_content() == "star-1"
    inside = """
      () => [...document.querySelectorAll('.node')].every((node) => {
        const box = document.querySelector(`[data-host-box='${node.dataset.host}'] rect`);
        const [outer, inner] = [box, node].map((each) => each.getBoundingClientRect());
        return outer.left <= inner.left && inner.right <= outer.right
          && outer.top <= inner.top && inner.bottom <= outer.bottom;
      })
    """
    assert page.evaluate(inside)


def test_groups_differ_by_pattern_and_not_by_colour_alone(page: playwright.Page) -> None:
    patterns = """
      () => [...document.querySelectorAll('pattern')].map((each) =>
        [...each.children].slice(1).map((mark) => mark.outerHTML).join())
    """
    found = page.evaluate(patterns)
    assert len(found) == 3
    assert len(set(found)) == 3


def test_the_four_states_differ_in_word_shape_and_line(
    world: StarWorld, page: playwright.Page
) -> None:
    disagree(world, page)
    looks = {}
    for pair in (("B", "A"), ("A", "D"), ("A", "C"), ("A", "B")):
        one = page.locator(cell(*pair))
        state = one.get_attribute("data-state")
        assert state is not None
        line = page.locator(link(*pair, state))
        looks[state] = (
            one.inner_text().replace("\n", " ").strip(),
            one.locator(".shape").inner_html(),
            line.locator(".link-line").evaluate("e => getComputedStyle(e).strokeDasharray")
            + str(line.locator(".link-casing").count())
            + "".join(line.locator(".badge text").all_text_contents()),
        )
    assert set(looks) == {"ok-allowed", "ok-denied", "LEAK", "BROKEN"}
    for part in range(3):
        assert len({look[part] for look in looks.values()}) == 4
    assert page.locator("#summary").inner_text() == "1 LEAK · 1 BROKEN"
    entries = page.locator("#timeline li").all_inner_texts()
    assert any("probe-a reaches probe-c, which it should not" in entry for entry in entries)
    agree(world)
    page.wait_for_selector("#summary[data-level=ok]")
    assert "over after" in page.locator("#timeline li[data-kind=LEAK] .settled").first.inner_text()


def test_everything_can_be_read_in_light_and_dark(world: StarWorld, opened: Opener) -> None:
    light = opened(world.page, color_scheme="light")
    dark = opened(world.page, color_scheme="dark")
    disagree(world, light)
    dark.wait_for_selector(f"{cell('A', 'C')}[data-state=LEAK]")
    for page in (light, dark):
        page.click(cell("A", "C"))
        page.wait_for_selector("#why .why-line")
        # An animation that is under way would be measured in its middle.
        page.wait_for_timeout(1200)
        assert page.evaluate(CONTRAST) == []
    grounds = [
        page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)
    ]
    assert grounds[0] != grounds[1]
    agree(world)


def test_a_live_regroup_settles_and_its_time_is_told(
    world: StarWorld, page: playwright.Page
) -> None:
    # What comes and goes while the doors move is noted by the page itself.
    page.evaluate(NOTE_STATES)
    world.regroup("b", ["star-2"], number=2)
    page.wait_for_selector(f"{cell('B', 'D')}[data-state=ok-allowed]")
    page.wait_for_selector(f"{cell('B', 'A')}[data-state=ok-denied]")
    page.wait_for_selector(".node[data-task=B][data-groups='star-2']")
    entry = page.locator("#timeline li", has_text="star-1 → star-2").first
    playwright.expect(entry.locator(".settled")).to_have_text(
        re.compile(r"settled in [0-9.]+ s"), timeout=PATIENCE_MS
    )
    seen = set(page.evaluate("[...window.seenStates]"))
    assert "settling" in seen
    assert not seen & {"LEAK", "BROKEN"}


def test_what_why_says_is_shown_for_a_cell_and_for_a_link(
    world: StarWorld, page: playwright.Page
) -> None:
    assert "Choose a cell" in page.locator("#why").inner_text()
    page.click(cell("A", "C"))
    told = f"from=star-iso_probe-a.1&to=star-iso_probe-c.1%3A{world.door['a', 'c']}"
    playwright.expect(page.locator("#why pre")).to_contain_text(told)
    assert page.locator(cell("A", "C")).get_attribute("aria-selected") == "true"
    page.locator(link("C", "D", "ok-allowed")).first.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#why .pair")).to_contain_text("probe-")
    playwright.expect(page.locator("#why .chip")).to_contain_text("ok · allowed")
    assert page.locator(cell("A", "C")).get_attribute("aria-selected") == "false"


def test_the_matrix_is_used_by_keyboard_with_one_stop(page: playwright.Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    focused = "[document.activeElement.dataset.from, document.activeElement.dataset.to].join()"
    assert page.evaluate(focused) == "collect,A"
    for key, pair in (
        ("ArrowRight", "collect,B"),
        # The cell of A with itself is passed over.
        ("ArrowLeft", "collect,A"),
        ("ArrowDown", "B,A"),
        ("End", "B,D"),
        ("ArrowRight", "B,D"),
        ("Home", "B,A"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == pair
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    assert page.locator("td[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#why .pair")).to_have_text("probe-b → probe-a")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#matrix')") is None


def test_focus_stays_where_it_is_while_states_change(
    world: StarWorld, page: playwright.Page
) -> None:
    page.locator(cell("A", "C")).click()
    disagree(world, page)
    focused = "[document.activeElement.dataset.from, document.activeElement.dataset.to].join()"
    assert page.evaluate(focused) == "A,C"
    playwright.expect(page.locator("#why .chip")).to_contain_text("LEAK")
    agree(world)


def test_cells_and_links_say_aloud_what_they_show(page: playwright.Page) -> None:
    assert (
        page.locator(cell("A", "C")).get_attribute("aria-label") == "probe-a to probe-c: ok, denied"
    )
    labels = [
        each.get_attribute("aria-label") for each in page.query_selector_all("#network .link")
    ]
    assert labels
    assert all(label and ": ok" in label for label in labels)
    assert page.locator("#summary").get_attribute("role") == "status"


def test_at_phone_width_only_the_matrix_scrolls_sideways(world: StarWorld, opened: Opener) -> None:
    page = opened(world.page, viewport=PHONE, has_touch=True, is_mobile=True)
    page.click(cell("A", "B"))
    page.wait_for_selector("#why .why-line")
    widths = "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"
    assert page.evaluate(widths) == [360, 360, 360]
    beyond = """
      () => [...document.querySelectorAll('body *')].filter((each) =>
        !each.closest('.scroller, .skip') && each.getBoundingClientRect().right > innerWidth + 1
      ).map((each) => each.outerHTML.slice(0, 80))
    """
    assert page.evaluate(beyond) == []
    texts = """
      () => [...document.querySelectorAll('#network text')].every((each) =>
        parseFloat(getComputedStyle(each).fontSize) >= 11)
    """
    assert page.evaluate(texts)


def test_the_same_tasks_always_stand_alike(world: StarWorld, opened: Opener) -> None:
    places = """
      () => [...document.querySelectorAll('.node')].map((each) =>
        each.dataset.task + each.getAttribute('transform'))
    """
    pages = [opened(world.page), opened(world.page)]
    for page in pages:
        page.wait_for_selector(".node")
    assert pages[0].evaluate(places) == pages[1].evaluate(places)


def test_closed_pairs_can_be_left_out(page: playwright.Page) -> None:
    assert page.locator("#network .link[data-state=ok-denied]").count() > 0
    page.uncheck("#show-closed")
    playwright.expect(page.locator("#network .link[data-state=ok-denied]")).to_have_count(0)
    assert page.locator("#network .link[data-state=ok-allowed]").count() > 0


def test_who_wants_no_motion_gets_none(world: StarWorld, opened: Opener) -> None:
    moves = "getComputedStyle(document.querySelector('.dot')).animationName"
    assert opened(world.page).evaluate(moves) == "breathe"
    assert opened(world.page, reduced_motion="reduce").evaluate(moves) == "none"


def test_old_data_is_told_and_news_take_it_back(world: StarWorld, page: playwright.Page) -> None:
    assert page.locator("#stale").is_hidden()
    world.pause()
    try:
        page.wait_for_selector("#stale:not([hidden])")
        assert "What is shown is old" in page.locator("#stale").inner_text()
        assert page.locator("#live-word").inner_text() == "not live"
    finally:
        world.resume()
    page.wait_for_selector("#stale", state="hidden")
    assert page.locator("#live-word").inner_text() == "live"


def test_that_facts_are_old_is_told(world: StarWorld, page: playwright.Page) -> None:
    world.told.silent = True
    page.wait_for_selector("#problem:not([hidden])")
    world.told.silent = False
    page.wait_for_selector("#problem", state="hidden")
