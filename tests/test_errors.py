from __future__ import annotations

import pytest

from orchestrator.errors import last_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("Traceback ...\n  File ...\nKeyError: 'a'\n"), "KeyError: 'a'"),
        (ValueError("one line"), "one line"),
        (AssertionError(), "AssertionError"),  # as a bare `assert` in a user's data set raises it
    ],
)
def test_an_exception_is_told_in_one_line_even_if_it_says_nothing(error: Exception, line: str) -> None:
    assert last_line(error) == line
