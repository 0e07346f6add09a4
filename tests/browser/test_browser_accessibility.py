"""Every screen in a real browser: axe-core finds nothing serious, light and dark, and a keyboard alone reaches and shows every control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.server import Server, settled
from tests.conftest import Mined

pytestmark = pytest.mark.browser

SCREENS = ["", "mine", "inspect", "review", "quality", "runs", "export"]


def violations(page: Any) -> list[str]:
    """What axe-core calls serious or critical on a page: "rule: element (what is wrong)"."""
    return [
        f"{rule['id']}: {node['html'][:300]} ({node['failureSummary'].splitlines()[1].strip()})"
        for rule in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def opened(browser: Any, url: str, scheme: str = "light") -> Any:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(url)
    page.get_by_test_id("stMainBlockContainer").wait_for()
    settled(page)
    assert page.get_by_test_id("stException").count() == 0, "an error is no screen to check"
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_has_no_serious_fault(browser: Any, example: Server, mined: Mined, screen: str, scheme: str) -> None:
    page = opened(browser, f"{example.url}/{screen}?run={mined.run}", scheme)
    found = violations(page)
    page.context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_without_data_has_no_serious_fault(browser: Any, serve: Any, tmp_path: Path, scheme: str) -> None:
    page = opened(browser, serve(tmp_path / "workspace").url, scheme)
    found = violations(page)
    page.context.close()
    assert not found, "\n".join(found)


# The focused element, also within a component's shadow: its name, whether one sees it, and whether something shows that it has the focus.
# An element without a look of its own (an input behind a slider's thumb, a grid's canvas) shows it on an ancestor or a neighbour.
FOCUSED = """() => {
    let each = document.activeElement;
    while (each?.shadowRoot?.activeElement) each = each.shadowRoot.activeElement;
    if (!each || each === document.body) return null;
    window.known ??= new Map();
    if (!window.known.has(each)) window.known.set(each, window.known.size);
    const box = each.getBoundingClientRect();
    const label = each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.[0]?.textContent || each.id;
    return {
        number: window.known.get(each),
        grid: each.tagName === 'CANVAS',
        name: `${each.tagName.toLowerCase()} ${each.getAttribute('role') ?? ''} ${label}`.slice(0, 80),
        shown: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
        covered: (() => {
            const [x, y] = [box.x + box.width / 2, box.y + Math.min(box.height, innerHeight) / 2];
            let top = document.elementFromPoint(x, y);
            while (top?.shadowRoot?.elementFromPoint(x, y)) top = top.shadowRoot.elementFromPoint(x, y);
            return box.width > 2 && top !== null && top.closest('[data-testid=stHeader]') !== null
                && each.closest('[data-testid=stHeader]') === null;
        })(),
    };
}"""
# What one can click or type into, but for the cells and tools of a grid, what is disabled or hidden, and all but the first of what arrows
# walk through (segments, tabs, radio buttons).
CONTROLS = """() => {
    const wanted = 'a[href], button, input, textarea, select, [role=slider], [role=button], [role=combobox], [role=tab], [role=switch]';
    const roots = [document], groups = new Set(), found = [];
    for (const root of roots) {
        for (const each of root.querySelectorAll('*')) {
            if (each.shadowRoot) roots.push(each.shadowRoot);
            const box = each.getBoundingClientRect(), style = getComputedStyle(each);
            const hidden = !box.width || !box.height || style.visibility === 'hidden' || each.closest('[aria-hidden=true], [inert]');
            if (!each.matches(wanted) || each.disabled || each.ariaDisabled === 'true' || hidden || each.tabIndex < 0) continue;
            if (each.closest('[role=grid], [data-testid=stDataFrame], [data-testid=stElementToolbar]')) continue;
            const group = each.closest('[role=radiogroup], [role=tablist], [role=toolbar], [data-testid=stButtonGroup]');
            if (group && groups.has(group)) continue;
            groups.add(group);
            found.push(each);
        }
    }
    window.known ??= new Map();
    return found.map(each => {
        if (!window.known.has(each)) window.known.set(each, window.known.size);
        const label = each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.[0]?.textContent || each.id;
        return [window.known.get(each), `${each.tagName.toLowerCase()} ${label}`.slice(0, 80)];
    });
}"""


def walked(page: Any) -> tuple[dict[int, str], list[str]]:
    """Press Tab until the focus is back where it began: the elements by their order, and what was wrong on the way."""
    reached: dict[int, str] = {}
    wrong: list[str] = []
    for _ in range(600):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUSED)
        if focus and focus["grid"] and reached and list(reached)[-1] == focus["number"]:
            # Tab went from cell to cell. Escape leaves the cells; where no cell is chosen it would take back the selection of rows.
            page.keyboard.press("Escape")
            page.keyboard.press("Tab")
            focus = page.evaluate(FOCUSED)
        if focus is None:  # past the last element; the next one is the first
            continue
        if focus["number"] in reached:
            if focus["number"] == next(iter(reached)):
                return reached, wrong
            if list(reached)[-1] == focus["number"]:
                wrong.append(f"Tab does not leave {focus['name']}")
                return reached, wrong
        reached[focus["number"]] = focus["name"]
        if not focus["shown"] or focus["covered"]:
            wrong.append(f"one does not see the focused {focus['name']}")
    wrong.append("600 presses of Tab do not walk through the page")
    return reached, wrong


@pytest.mark.parametrize("screen", SCREENS)
def test_tab_reaches_and_shows_every_control_and_leaves_it(browser: Any, example: Server, mined: Mined, screen: str) -> None:
    page = opened(browser, f"{example.url}/{screen}?run={mined.run}")
    controls = dict(page.evaluate(CONTROLS))
    assert len(controls) >= 7, "at least the links of the navigation"
    reached, wrong = walked(page)
    page.context.close()
    wrong += [f"Tab does not reach {name}" for number, name in controls.items() if number not in reached]
    assert not wrong, "\n".join(wrong)


def test_a_query_is_chosen_by_keyboard_on_inspect(browser: Any, example: Server, mined: Mined) -> None:
    page = opened(browser, f"{example.url}/inspect?run={mined.run}")
    chosen = page.get_by_role("option", selected=True).first
    before = chosen.inner_text()
    for _ in range(80):
        page.keyboard.press("Tab")
        if "listbox" in (page.evaluate(FOCUSED) or {"name": ""})["name"]:
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => new URL(location).searchParams.get('query')")
    settled(page)
    assert chosen.inner_text() != before
    page.context.close()
