"""The pages in a real Chromium: what a reader sees, clicks, copies and prints. Run by `make test-browser`."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.config.loading import load_config
from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import RunEnded, TrialBuilt, TrialEnded, TrialSuggested
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.comparison.compare import compare_runs
from orchestrator.report.comparison.page import write_comparison
from orchestrator.report.page.writing import write_page
from orchestrator.report.watch import watched_page
from orchestrator.report.watch.server import watching
from search_spaces import Architecture
from tests.builders import trial
from tests.made_up import made_up
from tests.searched import searched
from trainables.datasets import load_data
from trainables.network_spec import NetworkSpec

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'&amp;"
SMALL = ("network.filters=4", "data.limit=200")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium is not None, "there is no chromium on the path (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """An open page, what went wrong on it, and what it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, browser: Browser, url: str, width: int = 1280) -> Seen:
        context = browser.new_context(viewport={"width": width, "height": 900})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        seen = cls(context.new_page())
        seen.page.on("console", seen._hear)
        seen.page.on("pageerror", seen._hear_of)
        seen.page.on("request", seen._ask)
        seen.page.goto(url)
        seen.page.wait_for_function("document.body.dataset.drawn !== undefined")
        return seen

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _hear_of(self, error: Error) -> None:
        self.errors.append(str(error))

    def _ask(self, request: Request) -> None:
        self.requests.append(request.url)

    def check(self) -> None:
        """Nothing went wrong, and nothing but the page itself was asked for."""
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert self.page.evaluate("window.hacked") is None

    def traces(self) -> dict[str, list[dict[str, Any]]]:
        """Of each plot by its name: the traces that it drew, each with how many points it has."""
        script = """() => Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].map((plot) => [plot.id,
            plot.data.map((trace) => ({name: trace.name, points: (trace.x ?? trace.values ?? []).length}))]))"""
        return dict(self.page.evaluate(script))

    def column(self, number: int) -> list[str]:
        script = """(number) => [...document.querySelectorAll('#leaderboard tbody tr')]
            .map((row) => row.cells[number].dataset.sort)"""
        return list(self.page.evaluate(script, number))

    def fit(self, width: int) -> None:
        """With a window of so many pixels, nothing is wider; plotly draws anew once the window has come to rest."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")

    def scrolled_sideways(self) -> list[str]:
        """The parts of the page that a reader must scroll sideways."""
        script = """() => [...document.querySelectorAll('body *')].filter((one) => one.scrollWidth > one.clientWidth + 1
            && ['auto', 'scroll'].includes(getComputedStyle(one).overflowX)).map((one) => one.outerHTML.slice(0, 80))"""
        return list(self.page.evaluate(script))


def digits() -> dict[str, Any]:
    """The images that a search on handwritten digits says it had."""
    config = load_config(None, SMALL)
    return load_data(config.data, config.run.seed).describe()


def with_best(directory: RunDirectory) -> RunDirectory:
    """With the network that a search leaves in `best/`, untrained, and with its page."""
    best = RecordedRun.read(directory).state().best
    assert best is not None
    network = NetworkSpec(
        architecture=Architecture.from_json(best.architecture),
        repeats=1,
        filters=4,
        classes=10,
        image_channels=1,
        image_size=(8, 8),
    )
    directory.write_best(best, network.to_json(), b"", {})
    write_page(RecordedRun.read(directory))
    return directory


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A search with completed, pruned, failed, diverged, duplicate and infeasible trials."""
    place = tmp_path_factory.mktemp("searched") / "a run"
    return with_best(made_up(place, 120, overrides=SMALL, data=digits()))


@pytest.fixture(scope="module")
def seen(browser: Browser, record: RunDirectory) -> Seen:
    return Seen.at(browser, page_of(record))


@pytest.fixture(scope="module")
def hostile(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Whoever can write a record can write this."""
    place = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=window.hacked=1>"
    several: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize"}
    facts = {**digits(), "classes": [HOSTILE, "1"]}
    known: dict[str, Any] = {"host": HOSTILE, "commit": HOSTILE, "command": [HOSTILE], "versions": {HOSTILE: HOSTILE}}
    directory = made_up(place, 60, objectives=several, data=facts, **known)
    with EventLog.reopen(directory) as log:
        _, started, built, row, ended = trial("90000", [0.2], "failed")
        assert isinstance(built, TrialBuilt)
        assert isinstance(ended, TrialEnded)
        suggested = next(event for event in RecordedRun.read(directory).events() if isinstance(event, TrialSuggested))
        log.append(
            suggested.model_copy(update={"trial_id": "90000", "number": 90_000}),
            started,
            built.model_copy(update={"node": HOSTILE, "device": HOSTILE}),
            row,
            ended.model_copy(update={"error": HOSTILE}),
        )
    info = directory.read_info()
    config = {**info.config, "run": {**info.config["run"], "name": HOSTILE}, "sampler": {"name": HOSTILE}}
    directory.write_info(info.model_copy(update={"config": config}))
    write_page(RecordedRun.read(directory))
    return Seen.at(browser, page_of(directory))


def page_of(directory: RunDirectory) -> str:
    return (Path(directory.location) / "report.html").as_uri()


def test_it_opens_without_an_error_and_without_the_network(seen: Seen) -> None:
    seen.check()
    assert seen.page.title() == "made-up · cellscout"


def test_every_plot_has_its_traces(seen: Seen, hostile: Seen) -> None:
    for one in (seen, hostile):
        found = one.traces()
        assert len(found) == one.page.locator("script[data-for]").count() >= 6
        for name, traces in found.items():
            assert traces, name
            assert all(trace["points"] for trace in traces), name
    assert not any("front" in name for name in seen.traces())
    assert any("front" in name for name in hostile.traces())


def test_a_click_on_a_heading_sorts_both_ways_and_so_does_the_keyboard(seen: Seen) -> None:
    headings = seen.page.locator("#leaderboard thead th")
    names = [name.strip() for name in headings.all_inner_texts()]
    number = names.index("parameters")
    heading = headings.nth(number)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    smallest_first = [float(value) for value in seen.column(number)]
    assert smallest_first == sorted(smallest_first)
    assert len(set(smallest_first)) > 1
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(value) for value in seen.column(number)] == sorted(smallest_first, reverse=True)
    headings.nth(0).locator("button").click()
    assert [float(value) for value in seen.column(0)] == list(range(1, len(smallest_first) + 1))


def test_the_first_click_on_a_score_puts_the_best_first(seen: Seen) -> None:
    headings = seen.page.locator("#leaderboard thead th")
    number = [name.strip() for name in headings.all_inner_texts()].index("validation accuracy")
    headings.nth(number).locator("button").click()
    assert headings.nth(number).get_attribute("aria-sort") == "descending"
    best_first = [float(value) for value in seen.column(number)]
    assert best_first == sorted(best_first, reverse=True)
    headings.nth(0).locator("button").click()


def test_words_choose_the_rows_that_are_shown(seen: Seen) -> None:
    shown = seen.page.locator("#leaderboard tbody tr:visible")
    before, words = shown.count(), seen.page.locator("#leaderboard input.filter")
    words.fill("PRUNED")
    everywhere = seen.page.locator("#leaderboard tbody tr").all_text_contents()
    assert shown.count() == sum("pruned" in text for text in everywhere) > 0
    words.fill("")
    assert shown.count() == before == 20


def test_a_reader_who_prefers_dark_pages_gets_dark_plots_and_drawings(browser: Browser, record: RunDirectory) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(page_of(record))
    page.wait_for_function("document.body.dataset.drawn !== undefined")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(24, 29, 34)"
    for drawn in (page.locator("#curves.plot"), page.locator("svg.cell").first):
        shades = np.asarray(Image.open(io.BytesIO(drawn.screenshot())).convert("L"))
        assert np.median(shades) < 40
        assert shades.max() > 160
    context.close()


def test_two_rows_are_seen_side_by_side_and_marked_in_the_plots(seen: Seen) -> None:
    from playwright.sync_api import expect

    page = seen.page
    first, second, third = (page.locator("#leaderboard tbody tr").nth(place) for place in range(3))
    articles = page.locator("#opened article")
    first.click()
    second.locator("button.open").press("Enter")
    expect(articles).to_have_count(2)
    boxes = [box for one in articles.all() if (box := one.bounding_box()) is not None]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    expect(articles.nth(0).locator("svg.large")).to_have_count(2)
    scales = page.evaluate(
        "[...document.querySelectorAll('#opened svg.large')].map((one) => one.clientWidth / one.viewBox.baseVal.width)"
    )
    assert max(scales) == pytest.approx(min(scales), rel=0.02)
    marked = """() => Object.fromEntries([...document.querySelectorAll('.plot')].filter((one) => one.marks)
        .map((one) => [one.id, one.data.length - one.base.length]))"""
    counts = page.evaluate(marked)
    assert all(counts[name] for name in ("curves", "costs-parameters", "costs-macs", "timeline"))
    third.locator("button.open").press("Enter")  # instead of the first
    expect(first.locator("button.open")).to_have_attribute("aria-expanded", "false")
    expect(third.locator("button.open")).to_have_attribute("aria-expanded", "true")
    expect(articles).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("#opened")).to_be_hidden()
    assert not any(page.evaluate(marked).values())
    seen.check()


def test_a_click_on_a_mark_opens_its_trial(seen: Seen) -> None:
    from playwright.sync_api import expect

    winner = seen.page.locator("#leaderboard tbody tr").first.get_attribute("data-trial")
    seen.page.evaluate(
        "(id) => document.getElementById('costs-macs').emit('plotly_click', {points: [{customdata: id}]})", winner
    )
    expect(seen.page.locator("#opened article")).to_have_attribute("data-opened", str(winner))
    seen.page.locator("#opened article button", has_text="Close").click()
    expect(seen.page.locator("#opened")).to_be_hidden()


def test_errors_are_drawn_on_a_log_scale_and_back(seen: Seen) -> None:
    button = seen.page.locator('button.error[data-plot="curves"]')
    shown = "() => { const {data, layout} = document.getElementById('curves'); return [data[0].y, layout.yaxis.type]; }"
    scores, before = seen.page.evaluate(shown)
    button.click()
    errors, kind = seen.page.evaluate(shown)
    assert (before, kind) == ("linear", "log")
    assert [one is None for one in errors] == [one is None for one in scores]
    assert [1 - one for one in errors if one is not None] == pytest.approx([one for one in scores if one is not None])
    button.click()
    assert seen.page.evaluate(shown) == [scores, "linear"]
    seen.check()


def test_a_log_scale_of_similar_errors_has_ticks(browser: Browser, record: RunDirectory) -> None:
    seen = Seen.at(browser, page_of(record))
    script = """() => { const place = document.getElementById('curves');
        place.base = place.base.map((trace) => ({...trace, y: trace.y.map((_, at) => at % 2 ? 0.979 : 0.972)})); }"""
    seen.page.evaluate(script)
    seen.page.locator('button.error[data-plot="curves"]').click()
    seen.page.wait_for_function("document.querySelectorAll('#curves .ytick').length > 2")
    seen.check()


def test_the_navigation_stays_and_is_a_menu_on_a_narrow_page(seen: Seen) -> None:
    from playwright.sync_api import expect

    page, link = seen.page, seen.page.locator('nav a[href="#costs"]')
    link.click()
    expect(link).to_have_attribute("aria-current", "true")
    expect(link).to_be_in_viewport()
    page.set_viewport_size({"width": 420, "height": 900})
    expect(link).to_be_hidden()
    page.locator("nav button").click()
    page.locator('nav a[href="#leaderboard"]').click()
    expect(page.locator("#leaderboard h2")).to_be_in_viewport()
    assert seen.scrolled_sideways() == []
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_copied_command_trains_that_architecture(seen: Seen, record: RunDirectory, cellscout: Any) -> None:
    row = seen.page.locator("#leaderboard tbody tr").nth(1)
    trial_id = row.get_attribute("data-trial")
    row.click()
    opened = seen.page.locator(f'#opened article[data-opened="{trial_id}"]')
    opened.locator('button.copy[data-copy*=" retrain "]').click()
    seen.page.wait_for_function("document.querySelector('button.copy[data-label]') !== null")
    program, *arguments = shlex.split(seen.page.evaluate("navigator.clipboard.readText()"))
    assert (program, arguments[0]) == ("cellscout", "retrain")
    small = ["--repeats", "1", "--filters", "4", "--set", "training.epochs=1"]
    seen.page.keyboard.press("Escape")
    ended = cellscout(*arguments, *small, "--json")
    assert ended.status == 0, ended.err
    [network] = json.loads(ended.out)["networks"]
    assert trial_id is not None
    found = RecordedRun.read(record).state().trials[trial_id]
    told = json.loads((record / "retrain" / network["name"]).folder.read("network.json"))
    assert told["architecture"] == found.architecture


def test_hostile_text_stays_text(hostile: Seen) -> None:
    hostile.check()
    body = hostile.page.locator("body").inner_text()
    assert HOSTILE in body
    assert HOSTILE in hostile.page.locator("h1").inner_text()
    assert HOSTILE in hostile.page.locator("#problems").inner_text()
    hostile.page.evaluate(
        """() => document.querySelectorAll('.js-plotly-plot').forEach((plot) => plot.data.forEach((_, trace) =>
            Plotly.Fx.hover(plot, [{curveNumber: trace, pointNumber: 0}])))"""  # what it shows then, it makes of texts
    )
    hostile.page.locator("button.copy").first.click()
    hostile.check()


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_no_width_needs_scrolling_sideways(width: int, seen: Seen, hostile: Seen) -> None:
    for one in (seen, hostile):
        one.fit(width)
        one.fit(1280)


def test_it_prints(seen: Seen) -> None:
    pdf = seen.page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") <= 40
    seen.page.emulate_media(media="print")
    assert all(not button.is_visible() for button in seen.page.locator("button.copy").all())
    seen.page.emulate_media(media="screen")
    seen.check()


def test_ten_thousand_trials_open_and_say_what_is_not_drawn(browser: Browser, tmp_path: Path) -> None:
    write_page(RecordedRun.read(made_up(tmp_path / "run", 10_000, epochs=27)))
    file = tmp_path / "run" / "report.html"
    assert file.stat().st_size < 15e6
    seen = Seen.at(browser, file.as_uri())  # playwright gives it half a minute; it took two to six seconds
    seen.page.wait_for_function(
        "document.querySelectorAll('.js-plotly-plot').length === document.querySelectorAll('script[data-for]').length"
    )
    text = seen.page.locator("body").inner_text()
    for said in ("The best 500 of 8,230 trials with a score", "150 of 8,916 curves", "2,000 of 8,230 trials"):
        assert said in text
    seen.check()
    assert all(trace["points"] for traces in seen.traces().values() for trace in traces)


def test_a_watched_page_loads_itself_again_and_stays_where_it_was(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setattr(watched_page, "MIN_SECONDS", 0.1)
    monkeypatch.setattr(watched_page, "PAUSE_FACTOR", 0)
    directory = made_up(tmp_path / "run", 20, state="running", host="elsewhere")
    said: list[str] = []
    with EventLog.reopen(directory) as log, watching(directory.location, 0, said.append) as server:
        seen = Seen.at(browser, server.url)
        parameters = seen.page.locator("#leaderboard th", has_text="parameters")
        parameters.locator("button").click(click_count=2, delay=10)
        rows = seen.page.locator("#leaderboard tbody tr")
        before = rows.count()
        seen.page.wait_for_function("document.body.dataset.restored !== undefined")
        opened = rows.first.get_attribute("data-trial")
        rows.first.click()
        seen.page.evaluate("Plotly.relayout('curves', {'xaxis.range[0]': 2, 'xaxis.range[1]': 5})")
        seen.page.locator('button.error[data-plot="curves"]').click()
        seen.page.evaluate("document.getElementById('curves-section').scrollIntoView({behavior: 'instant'})")
        top = "document.getElementById('curves-section').getBoundingClientRect().top"
        place = seen.page.evaluate(top)
        with seen.page.expect_event("load"):
            log.append(*trial("90000", [0.99], "completed"))
        expect(rows).to_have_count(before + 1)
        seen.page.wait_for_function("document.body.dataset.restored !== undefined")
        assert abs(seen.page.evaluate(top) - place) < 2
        assert seen.page.evaluate("document.getElementById('curves').layout.xaxis.range") == [2, 5]
        expect(seen.page.locator('button.error[data-plot="curves"]')).to_have_attribute("aria-pressed", "true")
        expect(seen.page.locator("#opened article")).to_have_attribute("data-opened", str(opened))
        expect(seen.page.locator(".progress")).to_contain_text("ended, ")
        expect(parameters).to_have_attribute("aria-sort", "descending")
        log.append(RunEnded(outcome="completed"))
        directory.write_info(directory.read_info().model_copy(update={"state": "completed"}))
        expect(seen.page.locator(".standing.live")).to_have_count(0, timeout=20_000)
        asked = {url.removeprefix(server.url) for url in seen.requests if not url.startswith("data:")}
    assert said == ["the run has ended (completed)"]
    assert asked == {"", "version"}
    assert seen.errors == []


def test_a_comparison_in_the_browser(browser: Browser, tmp_path: Path) -> None:
    several: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize"}
    options = {"sampler": {"name": "tpe", "options": {"x": HOSTILE}}}
    runs = [
        searched(tmp_path / f"{place}-{seed}", [0.5, 0.6 + seed / 50], seed=seed, config=config, objectives=several)
        for place, config in (("a", {}), ("b", options))
        for seed in range(3)
    ]
    write_comparison(compare_runs(runs), tmp_path / "compare.html")
    seen = Seen.at(browser, (tmp_path / "compare.html").as_uri())
    found = seen.traces()
    assert set(found) == {"bests", "best-by-trials", "best-by-time", "front-macs"}
    assert all(trace["points"] for traces in found.values() for trace in traces)
    assert HOSTILE in seen.page.locator("#differences").inner_text()
    heading = seen.page.locator("#runs thead th").nth(4)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    for width in (400, 1600):
        seen.fit(width)
    assert seen.page.pdf().startswith(b"%PDF")
    seen.check()
