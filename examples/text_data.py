"""Makes the data of `text.toml`: short reviews whose last word on a restaurant counts, and that say `not` now and then.

    python text_data.py [FILE.csv]

A file for `[data] name = "text"` has the columns `text` and `label`. A folder may hold `train.csv`, `validation.csv`
and `test.csv`, or one folder of .txt files for each class.
"""

import csv
import random
import sys
from pathlib import Path

THINGS = ("soup", "bread", "waiter", "music", "coffee", "view", "service", "salad", "terrace", "dessert")
QUALITIES = {"good": ("good", "lovely", "great", "fresh", "kind"), "bad": ("awful", "dull", "stale", "rude", "cold")}
DEGREES = ("", "very ", "quite ", "so ", "really ")
OPENINGS = ("", "We came on Sunday. ", "I must say, ", "As so often, ", "After a long walk, ")
COUNT = 1500


def clause(draw: random.Random, label: str) -> str:
    """Say of a thing that it is good or bad, or that it is not the opposite."""
    is_denied = draw.random() < 0.4
    quality = draw.choice(QUALITIES[label if not is_denied else "bad" if label == "good" else "good"])
    return f"the {draw.choice(THINGS)} was {'not ' * is_denied}{draw.choice(DEGREES)}{quality}"


def review(draw: random.Random, label: str) -> str:
    """A clause of this label, often after one of any label and a `but`."""
    before = f"{clause(draw, draw.choice(list(QUALITIES)))}, but " if draw.random() < 0.6 else ""
    return f"{draw.choice(OPENINGS)}{before}{clause(draw, label)}."


if __name__ == "__main__":
    draw = random.Random(0)
    labels = [draw.choice(list(QUALITIES)) for _ in range(COUNT)]
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "reviews.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((review(draw, label), label) for label in labels)])
