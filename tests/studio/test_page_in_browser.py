"""The page in a headless Chromium, with a real model."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace

import pytest
from page_server import served

from dftfast.data import load_corpus
from dftfast.pipeline.local_texts import LocalModel
from dftfast.studio import local_writer, rewriting
from dftfast.studio.local_writer import LocalWriter

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
SLOW = 60_000  # ms that a model may take on a busy machine


@pytest.fixture(autouse=True)
def seeds(monkeypatch):
    """The same drafts every time: one of a few words would end on the screen, read at once."""
    for module in (local_writer, rewriting):
        numbers = count()
        drawn = SimpleNamespace(randbelow=lambda below, numbers=numbers: next(numbers))
        monkeypatch.setattr(module, "secrets", drawn)


@pytest.fixture(scope="module")
def writer():
    writer = LocalWriter(LocalModel(device="cpu", cache_tokens=16384), {"temperature": 0.7}, 48)
    yield writer
    writer.close()


@pytest.fixture
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens the page of an address; what it complains of fails the test."""
    complaints = []
    with ExitStack() as stack:
        context = browser.new_context(
            viewport={"width": 1280, "height": 330}, permissions=["clipboard-read"]
        )
        stack.callback(context.close)

        def visit(address):
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.set_default_timeout(SLOW)
            page.goto(address)
            is_saved(page)
            return page

        yield visit
    assert not complaints


def is_saved(page):
    playwright.expect(page.locator("#saved")).to_have_text("Saved", timeout=SLOW)


def idle(page):
    page.locator("#stop").wait_for(state="hidden")


def text(page):
    return page.locator("#text").input_value()


def set_cursor(page, place):
    page.evaluate("(i) => document.getElementById('text').setSelectionRange(i, i)", place)


def copied(page):
    page.click("#copy")
    return page.evaluate("() => navigator.clipboard.readText()")


def test_a_draft_is_written_checked_mended_and_exported(make_desk, writer, opened, tmp_path):
    with served(make_desk(writer=writer)) as address:
        page = opened(address)
        page.fill("#prompt", "Tell Anna that the boat is repaired")
        page.fill("#outline", "repaired for 380 euros")
        page.fill("#words", "40")
        page.press("#outline", "Control+Enter")
        page.locator("#stop").wait_for()
        page.wait_for_function("() => document.getElementById('text').value.length > 0")
        idle(page)
        draft = text(page)
        assert len(draft.split()) > 3
        # nobody has read it: the end of the draft is not on the screen
        first = copied(page)
        assert first != draft and len(first.split()) == len(draft.split())
        assert "→" in page.inner_text("#notice")
        # typed words are checked, underlined and end the exchange
        page.locator("#text").focus()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text("\n\nWe delve into it. Its number is 51793.")
        page.fill("#outline", "repaired for 380 euros\nits number is 51739")
        for found in ("delve into", "51793"):
            page.locator("#marks mark.error", has_text=found).wait_for()
        assert copied(page) == text(page)
        place = lambda: page.evaluate("() => document.getElementById('text').selectionStart")
        set_cursor(page, 0)
        page.keyboard.press("F8")
        assert place() == text(page).index("delve into")
        # one sentence anew, the rest word for word
        before = text(page)
        page.keyboard.press("F2")
        page.locator("#stop").wait_for()
        idle(page)
        other = page.locator(".choice span").first.inner_text()
        page.keyboard.press("1")
        assert text(page) == before.replace("We delve into it.", other)
        page.locator("#marks mark", has_text="delve into").wait_for(state="detached")
        page.keyboard.press("Control+z")
        assert text(page) == before
        page.keyboard.press("Control+Shift+z")
        after = text(page)
        is_saved(page)
        page.reload()
        is_saved(page)
        assert text(page) == after and page.input_value("#words") == "40"
        with page.expect_download() as download:
            page.click("#export")
        download.value.save_as(tmp_path / "row.jsonl")
        (row,) = load_corpus([str(tmp_path / "row.jsonl")])
        assert row.text == after and row.outline == (
            "repaired for 380 euros",
            "its number is 51739",
        )
        share = json.loads((tmp_path / "row.jsonl").read_text())["model_share"]
        assert 0 < share < 1


def test_one_of_three_drafts_is_taken(make_desk, writer, opened):
    with served(make_desk(writer=writer)) as address:
        page = opened(address)
        page.fill("#prompt", "Tell Anna that the boat is repaired")
        page.fill("#words", "20")
        page.click("#three")
        playwright.expect(page.locator(".choice")).to_have_count(3, timeout=SLOW)
        idle(page)
        said = page.locator(".choice small").all_inner_texts()
        assert all(each == "no findings" or each[0].isdigit() for each in said)
        second = page.locator(".choice span").nth(1).inner_text()
        page.keyboard.press("2")
        assert text(page) == second and page.locator("#choices").is_hidden()


def test_what_is_typed_at_once_is_kept(make_desk, browser):
    with served(make_desk()) as address:
        page = browser.new_page()
        slow = lambda route: (page.wait_for_timeout(600), route.continue_())
        page.route("**/api/drafts", slow)  # a slow disk: the list of drafts is late
        page.goto(address)
        page.fill("#text", "One line.", timeout=SLOW)
        is_saved(page)
        assert text(page) == "One line."
        page.close()


def test_reading_ends_the_exchange_of_words(make_desk, opened):
    desk = make_desk()
    words = "the quiet harbour wakes early and nobody hurries about anything there"
    content = {"brief": {}, "text": words, "written": words, "edited": False, "read": False}
    desk.store.new(content)
    with served(desk) as address:
        page = opened(address)
        assert copied(page) != words
        page.set_viewport_size({"width": 1280, "height": 900})
        page.wait_for_function("() => document.getElementById('saved').textContent !== 'Saved'")
        is_saved(page)
        assert copied(page) == words


def test_markup_is_text(make_desk, opened):
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script> We delve into it."
    desk = make_desk()
    desk.store.new({"brief": {"prompt": markup, "outline": [markup]}, "text": markup,
                    "written": "", "edited": True, "read": True})  # fmt: skip
    desk.store.keep(desk.store.list()[0]["id"], markup, markup)
    with served(desk) as address:
        page = opened(address)
        page.on("dialog", lambda dialog: pytest.fail("a script ran"))
        page.locator("#findings li").first.wait_for()
        page.click("#versions-button")
        page.locator("#versions-list li").wait_for()
        assert page.locator("#marks img, li img, main script, dialog img, option img").count() == 0
        assert "<img" in page.inner_text("#versions-list")


def test_two_tabs_and_a_killed_server_lose_nothing(make_desk, opened):
    with served(make_desk()) as address:
        port = int(address.rpartition(":")[2])
        first, second = opened(address), opened(address)
        first.fill("#text", "Of the first tab.")
        is_saved(first)
        second.fill("#text", "Of the second tab.")
        second.locator("#conflict").wait_for()
        second.click("#keep-mine")
        is_saved(second)
        first.close()
    second.fill("#text", "Typed while no server ran.")
    playwright.expect(second.locator("#saved")).to_contain_text("kept in this browser")
    second.close()
    desk = make_desk()
    with served(desk, port) as address:
        page = opened(address)
        assert text(page) == "Typed while no server ran."
        kept = [each["text"] for each in desk.store.versions(desk.store.list()[0]["id"])]
        assert "Of the first tab." in kept and "Of the second tab." in kept


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_screen(make_desk, browser, width, scheme):
    desk = make_desk()
    long = " ".join(f"word{i}" for i in range(400))
    desk.store.new({"brief": {"prompt": "x" * 200}, "text": f"{long} {'y' * 300}",
                    "written": "", "edited": True, "read": True})  # fmt: skip
    with served(desk) as address:
        size = {"width": width, "height": 844}
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.goto(address)
        is_saved(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        # the marks lie exactly under the words
        heights = "() => ['text', 'marks'].map((id) => document.getElementById(id).scrollHeight)"
        area, under = page.evaluate(heights)
        assert abs(area - under) <= 1
        for part in ("brief", "checks", "draft") if width < 980 else ():
            page.click(f"[data-shows={part}]")
            shown = {"brief": "#brief", "checks": "#checks", "draft": "#sheet"}
            visible = [name for name, place in shown.items() if page.is_visible(place)]
            assert visible == [part]
