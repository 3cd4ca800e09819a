"""`python -m orchestrator.report.page RUN_DIR`: write the page, as a search has it done beside itself while it runs."""

from __future__ import annotations

import contextlib
import os
import sys

from orchestrator.errors import CellscoutError
from orchestrator.record import RecordedRun
from orchestrator.report.page.writing import write_page


def main(location: str) -> str | None:
    """Why it could not be written, in one line; None if it was."""
    with contextlib.suppress(OSError):
        os.nice(19)  # it takes only what the search leaves
    try:
        write_page(RecordedRun.of_search(location))
    except CellscoutError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
