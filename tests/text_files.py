"""Texts for tests: made-up questions and statements of two classes, in tables or in a file each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

OPENINGS = {"person": ("who", "whom"), "place": ("where", "whence")}
NAMES = ("Ada", "the river", "a ship", "Lagos", "the old bridge", "Euler", "my aunt", "the post")
ENDINGS = ("came from", "went to", "is named after", "lived near")


def questions(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of 4 to 6 words and a mark, and their labels, `person` and `place` in turn."""
    generator = np.random.default_rng(seed)
    labels = [list(OPENINGS)[number % 2] for number in range(count)]
    words = ((OPENINGS[label], NAMES, ENDINGS) for label in labels)
    texts = [" ".join(str(generator.choice(choices)) for choices in of_one) + "?" for of_one in words]
    return [text[0].upper() + text[1:] for text in texts], labels


def write_csv(path: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *zip(labels, texts, strict=True)])
    return path


def question_file(path: Path, count: int = 40, seed: int = 0) -> Path:
    """A CSV file of questions."""
    return write_csv(path, *questions(count, seed))


def write_text_folders(root: Path, count: int = 12) -> Path:
    """A folder of text files for each class of questions."""
    for number, (text, label) in enumerate(zip(*questions(count), strict=True)):
        path = root / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root
