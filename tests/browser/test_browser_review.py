"""Reviewing in a real browser: by keys alone, through a killed server, two people at once, and with texts that want to be markup."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from hnmine.core.text import normalize_text
from hnmine.data.verdicts import CHOICES, Verdict
from hnmine.review.store import ReviewStore
from tests.browser.server import Server, page_of, settled

pytestmark = pytest.mark.browser

ROUNDS = 25  # in which two people press a key each


def open_review(browser: Any, server: Server, run: str) -> Any:
    page = page_of(browser, f"{server.url}/review?run={run}")
    page.get_by_text("left in this queue").wait_for()
    settled(page)
    return page


BUTTONS = "[...document.querySelectorAll('[class*=st-key-review-negative-]')].map(e => e.className.match(/st-key-review-negative-\\d+/)[0])"


def shown(page: Any) -> str:
    """What tells one pair on the screen from another: the key of its buttons changes with each."""
    page.wait_for_function(f"() => {BUTTONS}.length === 1", polling=20)
    return str(page.evaluate(f"() => {BUTTONS}[0]"))


def moved_on(page: Any, before: str) -> None:
    """Wait until another pair is on the screen, and the one before is gone."""
    page.wait_for_function(f"before => {{ const now = {BUTTONS}; return now.length === 1 && now[0] !== before }}", arg=before, polling=20)


def press(page: Any, key: str) -> None:
    """Press a key as somebody does who has seen the pair."""
    before = shown(page)
    page.keyboard.press(key)
    moved_on(page, before)


def reviewed(page: Any) -> int:
    found = re.search(r"([\d,]+) of ([\d,]+) reviewed", page.get_by_test_id("stProgress").inner_text())
    assert found
    return int(found[1].replace(",", ""))


def wait_reviewed(page: Any, number: int) -> None:
    page.wait_for_function(
        "text => document.querySelector('[data-testid=stProgress]')?.innerText.startsWith(text)", arg=f"{number:,} of ", timeout=20_000
    )


def events(root: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(root / "reviews.sqlite") as db:
        return db.execute("SELECT who, query || '|' || passage, after FROM events ORDER BY id").fetchall()


def test_pairs_are_reviewed_by_keys_through_a_killed_server(browser: Any, place: tuple[Path, str], serve: Callable[..., Server]) -> None:
    root, run = place
    server = serve(root)
    page = open_review(browser, server, run)
    for key in "kdkpskdd":
        press(page, key)
    for left in (7, 6, 5):
        page.keyboard.press("z")
        wait_reviewed(page, left)

    server.kill()  # in the middle, without a warning
    before = ReviewStore(root / "reviews.sqlite").verdicts()
    assert len(before) == 5
    server = serve(root, port=server.port)
    page.context.close()
    page = open_review(browser, server, run)
    assert reviewed(page) == 5
    assert ReviewStore(root / "reviews.sqlite").verdicts() == before
    for key in "kdkpsjdddk":
        press(page, key)
    wait_reviewed(page, 15)

    verdicts = ReviewStore(root / "reviews.sqlite").verdicts()
    assert len(verdicts) == 15
    assert {each.verdict for each in verdicts} == set(CHOICES)
    page.get_by_test_id("stTopNavLink").filter(has_text="Export").click()
    button = page.get_by_test_id("stDownloadButton").filter(has_text="rows").first
    button.wait_for()
    settled(page)
    with page.expect_download() as download:
        button.get_by_role("button").click()
    rows = [json.loads(line) for line in Path(download.value.path()).read_bytes().splitlines()]
    page.context.close()
    honoured(rows, verdicts)


def honoured(rows: list[dict[str, Any]], verdicts: list[Verdict]) -> None:
    assert len(rows) == 124
    by_query: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_query.setdefault(normalize_text(row["query"]), []).append(row)
    for each in verdicts:
        for row in by_query[normalize_text(each.query)]:
            negatives, positives = ({normalize_text(text) for text in row[name]} for name in ("neg", "pos"))
            passage = normalize_text(each.passage)
            if each.verdict in ("relevant", "junk"):
                assert passage not in negatives | positives
            elif each.verdict == "positive":
                assert passage in positives
                assert passage not in negatives
            elif each.verdict == "negative":
                assert passage in negatives


# So that a test can let the page's poll tick when it wants.
TICKS = """
    window.ticks = [];
    const every = window.setInterval;
    window.setInterval = (then, after, ...rest) => {
        if (after === 4000) window.ticks.push(then);
        return every(then, after, ...rest);
    };
"""
# A key goes down, and before the page has sent that, its poll is due.
Z_AND_A_TICK = """() => {
    const key = type => document.dispatchEvent(new KeyboardEvent(type, {key: 'z', keyCode: 90, bubbles: true}));
    key('keydown');
    window.ticks.at(-1)();
    key('keyup');
}"""


def test_each_press_of_undo_and_redo_is_carried_out_once(browser: Any, place: tuple[Path, str], serve: Callable[..., Server]) -> None:
    """However quick they are, and whatever else the page sends; and none that is typed into a field."""
    root, run = place
    page = page_of(browser, "about:blank")
    page.add_init_script(TICKS)
    page.goto(f"{serve(root).url}/review?run={run}")
    page.get_by_text("left in this queue").wait_for()
    settled(page)
    for key in "kd" * 10:
        press(page, key)
    for _ in range(5):
        page.keyboard.press("z")  # as quick as a machine presses
    wait_reviewed(page, 15)
    settled(page)  # the bar is drawn before the buttons, and Redo has just become one that can be pressed
    for key in "zzyzy":
        page.keyboard.press(key)
    wait_reviewed(page, 14)
    page.get_by_role("button", name="Undo").dblclick()
    wait_reviewed(page, 12)
    settled(page)
    page.evaluate(Z_AND_A_TICK)
    wait_reviewed(page, 11)
    page.get_by_role("textbox", name="Query contains").click()
    page.keyboard.type("zzyy")
    page.keyboard.press("Control+a")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("heading", name="Review").click()
    press(page, "s")  # whatever was told before is carried out before this
    wait_reviewed(page, 12)
    with sqlite3.connect(root / "reviews.sqlite") as db:
        actions = [action for (action,) in db.execute("SELECT action FROM batches ORDER BY id")]
    undo, redo = ["undo"], ["redo"]
    assert actions == ["do"] * 20 + undo * 5 + undo * 2 + redo + undo + redo + undo * 2 + undo + ["do"]
    page.context.close()


def test_two_people_review_the_same_run_at_once(browser: Any, place: tuple[Path, str], serve: Callable[..., Server]) -> None:
    root, run = place
    server = serve(root)
    pages = [open_review(browser, server, run) for _ in range(2)]
    for page in pages:
        expect(page.get_by_role("textbox", name="Reviewer")).to_have_value(re.compile("Reviewer"))
    names = [page.get_by_role("textbox", name="Reviewer").input_value() for page in pages]
    assert sorted(names) == ["Reviewer 1", "Reviewer 2"]
    for number in range(ROUNDS):
        before = [shown(page) for page in pages]
        for turn, page in enumerate(pages):  # both keys are down before either screen has moved on
            page.keyboard.press("kdj"[(number + turn) % 3])
        for page, old in zip(pages, before, strict=True):
            moved_on(page, old)
    written = events(root)
    assert len(written) == 2 * ROUNDS
    assert len({pair for _, pair, _ in written}) == 2 * ROUNDS  # no pair was given to both
    assert {name: sum(who == name for who, _, _ in written) for name in names} == dict.fromkeys(names, ROUNDS)
    for page in pages:
        wait_reviewed(page, 2 * ROUNDS)
        page.get_by_text("Also reviewing now").wait_for()
    # What one decides, the other sees without doing anything.
    press(pages[0], "p")
    wait_reviewed(pages[1], 2 * ROUNDS + 1)
    pages[1].get_by_test_id("stMain").filter(
        has_text="1 relevant (added as positive)"
    ).wait_for()  # the badges are drawn a moment after the bar
    # Who loads the page again is the same person; who comes anew, even after both have gone, is another.
    for page, name in zip(pages, names, strict=True):
        page.reload()
        page.get_by_text("left in this queue").wait_for()
        expect(page.get_by_role("textbox", name="Reviewer")).to_have_value(name)
    for page in pages:
        page.context.close()
    page = open_review(browser, server, run)
    expect(page.get_by_role("textbox", name="Reviewer")).to_have_value("Reviewer 3")
    page.context.close()


def test_keys_typed_into_a_field_judge_nothing(browser: Any, place: tuple[Path, str], serve: Callable[..., Server]) -> None:
    root, run = place
    page = open_review(browser, serve(root), run)
    field = page.get_by_role("textbox", name="Query contains")
    field.click()
    page.keyboard.type("kdpjsbike", delay=20)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    for _ in range(5):
        page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    settled(page)
    name = page.get_by_role("textbox", name="Reviewer")
    name.fill("")
    page.keyboard.type("Dr. Skopz")
    page.keyboard.press("Tab")
    settled(page)
    assert events(root) == []
    page.get_by_role("heading", name="Review").click()
    press(page, "d")
    ((who, pair, verdict),) = events(root)
    assert (who, verdict) == ("Dr. Skopz", "relevant")
    assert "bike" in pair.partition("|")[0].casefold()
    page.context.close()


HOSTILE = [
    ":red[x] :blue-background[y] :small[z] :rainbow[w] :color[a]{foreground=red} :primary-badge[b] :shimmer[c]",
    "$x$ and $$y$$ cost $5 or $10",
    "<script>document.title='x'</script><b>b</b><img src=x onerror=alert(1)> &amp; &lt; &#58;",
    "![](http://127.0.0.1:9/pixel.png) [link](javascript:alert(1)) [a][b] ![c][d]",
    "[b]: http://example.org",
    "`code` ``more`` ~~~~ ```x```",
    ":material/home: :material_home: :streamlit: :smile: :+1: :e-mail:",
    "# heading",
    "## heading ##",
    "heading\n===\nother\n---\nlast",
    "- list\n- list\n+ list\n* list\n1. one\n2) two",
    "> quote\n>> deep",
    "    indented code\n\ttab",
    "a  b   c",
    "one\n\ntwo\n\n\nthree",
    "one\\\ntwo\\",
    "**bold** __bold__ *it* _it_ ***x*** ~~gone~~ snake_case_word",
    "a -> b <- c <-> d -- e >= f <= g ~= h --- i",
    "http://example.org www.example.org https://a.b/c?d=e#f someone@example.org mailto:x@y.z",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "[^1] and\n\n[^1]: a footnote",
    ":::note\ninside\n:::",
    "::leaf[x]{a=b}",
    "- [ ] task\n- [x] done",
    "***\n---\n___",
    "\\*escaped\\* \\: \\\\ \\n",
    "日本語の文章です。:red[漢字] ไทย العربية עברית",
    "{x} [y] (z) ]:small[ } { ]] [[",
    "trailing blank ",
    " leading blank",
    "x\u00a0y\u2003z\u200d",
    "<!-- comment --> <?php ?> <![CDATA[x]]>",
    "&copy; &#x41; &nbsp; %20",
    "@everyone #tag ^sup^ ==mark== ++ins++ H~2~O",
    "line one\r\nline two\rline three",
    "¡Olé! „Zitat“ – … € 5 × 3",
    "1986. A great year",
    "\n\nleading lines",
    "…[x](y)`z`$a$",
]


def test_any_text_is_shown_as_it_is(browser: Any, tmp_path: Path, serve: Callable[..., Server]) -> None:
    """Every piece of markup that Streamlit knows, and random mixtures of its characters, with words marked in the middle of it."""
    chance = random.Random(7)
    pieces = [
        *"abcxyz019",
        *" \n",
        *":[](){}<>*_`~$#!|\\^@&;=-+./'\"%?,",
        ":red[",
        ":material/",
        "http://",
        "www.",
        "->",
        "&#58;",
        "é",
        "漢",
    ]
    texts = HOSTILE + ["".join(chance.choices(pieces, k=chance.randint(1, 60))) for _ in range(150)]
    texts = [text for text in texts if text.strip()]
    (tmp_path / "texts.json").write_text(json.dumps(texts), "utf-8")
    script = tmp_path / "show.py"
    script.write_text(
        "import json, re\nfrom pathlib import Path\nimport streamlit as st\nfrom pages.shared.highlight import show\n"
        "for number, text in enumerate(json.loads((Path(__file__).parent / 'texts.json').read_text('utf-8'))):\n"
        "    with st.container(key=f'text-{number}'):\n"
        "        show(text, [each.span() for each in re.finditer(r'[^\\W_]+', text)][::2])\n"
        "st.text('the end')\n",
        "utf-8",
    )
    page = page_of(browser, serve(tmp_path / "none", script=script).url)
    page.get_by_text("the end", exact=True).wait_for()
    settled(page)
    found = page.evaluate(
        """count => Array.from({length: count}, (_, i) => {
            const root = document.querySelector(`.st-key-text-${i} [data-testid=stHtml]`);
            const all = [...root.querySelectorAll('*')];
            const marks = all.filter(e => e.tagName === 'MARK');
            return [root.innerText, all.map(e => e.tagName), marks.map(e => e.innerText)];
        })""",
        len(texts),
    )
    for text, (rendered, tags, marks) in zip(texts, found, strict=True):
        wanted = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
        assert lines(rendered) == lines(wanted), text
        assert set(tags) <= {"DIV", "MARK"}, (text, tags)
        assert marks == [each[0] for each in re.finditer(r"[^\W_]+", text)][::2], text
    page.context.close()


def lines(text: str) -> list[str]:
    """The lines of a text with its blanks: a no-break one stands for a blank, four... for a tab's first."""
    return [line.replace("\u00a0", " ").replace("\t", " ").rstrip() for line in text.split("\n")]
