"""The page of a search as a browser would find it, its plots, and what tests put into a run for it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.page.plot import Plot
from orchestrator.report.page.writing import write_page
from search_spaces import NASNET_A
from trainables.network_spec import NetworkSpec

SCRIPT = "<script>alert('x')</script>"


class Page(HTMLParser):
    """What a browser would find: elements by their names, texts, and the figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.figures: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        name = attributes.get("data-for")
        if name is not None:
            self.figures[name] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(directory: RunDirectory) -> Page:
    return Page(Path(write_page(RecordedRun.read(directory))).read_text(encoding="utf-8"))


def figure_of(plot: Plot) -> Any:
    assert plot.figure is not None, plot.empty_text
    return plot.figure


def traces(plot: Plot) -> Any:
    return figure_of(plot).data


def keep_best(directory: RunDirectory) -> str:
    """Put a network into `best/`, as a search does; its trial."""
    best = RecordedRun.read(directory).state().best
    assert best is not None
    spec = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=2, image_channels=1, image_size=(8, 8))
    directory.write_best(best, spec.to_json(), b"", {})
    return best.trial_id


def evaluation(winner: str | None, others: dict[str, float], *, trials: int = 6, **values: Any) -> str:
    """An evaluation.json of a search that trained so many trials.

    `others` are the adjusted p of those that the winner is compared with.
    """
    names = [*([winner] if winner else []), *others]
    test = {"difference": 0.0125, "interval": [0.002, 0.023], "t": 2.0, "degrees": 5, "p": 0.01}
    cost = {"trials": trials, "epochs": 54, "train_seconds": 60.0}
    found = {
        "verdict": f"The winner is {winner}: its mean val_accuracy is the highest.",
        "finished": True,
        "metric": "val_accuracy",
        "direction": "maximize",
        "folds": 3,
        "seeds": [1, 2],
        "trainings": {"ended": 6, "planned": 6},
        "winner": winner,
        "candidates": [
            {
                "name": name,
                "trial_id": name,
                "random_id": None,
                "rank": rank,
                "mean": 0.9,
                "deviation": 0.01,
                "interval": [0.88, 0.92],
                "search_rank": 1,
                "search_score": 0.91,
                "trainings": 6,
                "problems": [],
                "scores": [],
                "objectives": None,
                "on_front": False,
                "parameters": 10,
                "macs": 20,
                "fingerprint": "x",
                "architecture": {},
            }
            for rank, name in enumerate(names, start=1)
        ],
        "comparisons": [{**test, "winner": winner, "other": name, "p_adjusted": p} for name, p in others.items()],
        "random": {
            "best": "random/00007",
            "cost": cost,
            "comparison": {**test, "other": "random/00007", "p_adjusted": 0.4},
        },
        "search": {"cost": cost},
        "rank_correlations": [],
        "fuller": "With --seeds 3 the intervals would be about 40 % narrower.",
        **values,
    }
    return json.dumps(found)
