"""Reads initial vectors of words from a file in the text format of word2vec and GloVe. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.layers import PADDING
from trainables.settings import printable
from trainables.text_files import TextError
from trainables.vocabulary import FIRST, Vocabulary


def read_vectors(path: Path, vocabulary: Vocabulary) -> tuple[NDArray[np.float32], int]:
    """Read the vectors [tokens, numbers] of a vocabulary, and how many of its units the file has.

    A line is a word and its numbers, separated by spaces. A first line with the numbers of words and of numbers, which
    word2vec writes, is skipped. Tokens without a vector get random ones of the same deviation, and `PADDING` zeros.

    Raises:
        TextError: the file cannot be read, or has a line of another kind, or none of the units; the message names it.
    """
    name = printable(path)
    places = {unit: FIRST + place for place, unit in enumerate(vocabulary.units)}
    found: dict[int, NDArray[np.float32]] = {}
    try:
        for number, word, texts in _lines(path, name):
            if word in places:
                try:
                    found[places[word]] = np.array(texts, np.float32)
                except ValueError as error:
                    raise TextError(f"line {number:,} of {name} is not a word and {len(texts)} numbers") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{name} is not UTF-8") from error
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror}") from error
    if not found:
        raise TextError(f"{name} has none of the {len(places):,} {vocabulary.unit} of the vocabulary")
    known = np.stack(list(found.values()))
    if not np.isfinite(known).all():
        raise TextError(f"{name} has vectors that are not finite")
    vectors = np.random.default_rng(0).normal(0, known.std(), (vocabulary.tokens, known.shape[1])).astype(np.float32)
    vectors[list(found)] = known
    vectors[PADDING] = 0
    return vectors, len(found)


def _lines(path: Path, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """For each line with a vector: its line number, its word, and the numbers of the vector as texts."""
    count = 0
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip().split(" ")
            if (number == 1 and len(fields) == 2) or not line.strip():
                continue
            count = count or len(fields) - 1
            if len(fields) <= count or not count:  # a word may hold spaces, so that there are more
                raise TextError(f"line {number:,} of {name} is not a word and {count or 'its'} numbers")
            yield number, " ".join(fields[:-count]), fields[-count:]
