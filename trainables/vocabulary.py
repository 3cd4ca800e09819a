"""Splits texts into words or characters, and numbers them. No files, no torch."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainables.layers import PADDING, UNKNOWN

Unit = Literal["words", "characters"]
FIRST = max(PADDING, UNKNOWN) + 1
"""The token of the most frequent unit."""

MARKS = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))
"""Where Unicode has combining marks."""


@cache
def _word() -> re.Pattern[str]:
    """A word, with apostrophes inside, or one other character that is not a space.

    Combining marks, such as the vowels of Hindi and Thai, belong to the letter before them, but not to Python's `\\w`.
    """
    marks = "".join(chr(code) for code in chain(*MARKS) if unicodedata.category(chr(code))[0] == "M")
    part = rf"\w[\w{marks}]*"
    return re.compile(rf"{part}(?:['\u2019]{part})*|[^\w\s]")


def split_text(text: str, unit: Unit, *, lower_case: bool = True) -> list[str]:
    """Split a text into words and single punctuation marks, or into characters, in lower case or as it is written.

    Letters with accents are one character each (Unicode's NFC). Several spaces or line ends in a row are one space;
    those at both ends of the text are dropped, with words all of them.
    """
    plain = unicodedata.normalize("NFC", text)
    if lower_case:
        plain = plain.lower()
    return _word().findall(plain) if unit == "words" else list(" ".join(plain.split()))


@dataclass(frozen=True)
class Vocabulary:
    """The units that have a token of their own; all others are `UNKNOWN`."""

    unit: Unit
    units: tuple[str, ...]
    """From the most frequent one, whose token is `FIRST`."""
    lower_case: bool = True
    """Whether texts are split in lower case."""

    @classmethod
    def count(
        cls, texts: Iterable[Sequence[str]], unit: Unit, *, min_count: int, max_size: int, lower_case: bool = True
    ) -> Vocabulary:
        """The most frequent units of texts that are already split.

        Args:
            texts: the units of each text.
            unit: what they were split into.
            min_count: how often a unit must occur in all texts together.
            max_size: the maximum number of units; ties are broken alphabetically.
            lower_case: whether they were split in lower case.
        """
        counts = Counter(chain.from_iterable(texts))
        known = sorted((one for one in counts if counts[one] >= min_count), key=lambda one: (-counts[one], one))
        return cls(unit, tuple(known[:max_size]), lower_case)

    @property
    def tokens(self) -> int:
        """The number of different tokens, with `PADDING` and `UNKNOWN`."""
        return FIRST + len(self.units)

    def split(self, text: str) -> list[str]:
        """See `split_text`."""
        return split_text(text, self.unit, lower_case=self.lower_case)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {unit: FIRST + place for place, unit in enumerate(self.units)}

    def encode(self, text: Sequence[str], length: int) -> NDArray[np.int32]:
        """The tokens [length] of a text that is already split: its beginning, with `PADDING` after its end."""
        tokens = np.full(length, PADDING, np.int32)
        found = [self._numbers.get(unit, UNKNOWN) for unit in text[:length]]
        tokens[: len(found)] = found
        return tokens
