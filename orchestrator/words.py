"""Counts and lists in words. All rooms use these, so this knows none of them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: float, noun: str) -> str:
    """`1 seed`, `3,000 seeds`, `0.5 GPUs`."""
    shown = f"{count:g}" if isinstance(count, float) else f"{count:,}"
    return f"{shown} {noun}{'' if count == 1 else 's'}"


def join_words(words: Sequence[str]) -> str:
    """Join one or more words: `a`, `a and b`, `a, b and c`."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
