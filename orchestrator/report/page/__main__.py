"""`python -m orchestrator.report.page RUN_DIR` writes the page; a running search starts this in another process."""

from __future__ import annotations

import contextlib
import os
import sys

from orchestrator.errors import CellscoutError
from orchestrator.record import RecordedRun
from orchestrator.report.page.writing import write_page


def main(location: str) -> str | None:
    """Write the page; return None, or in one line why it could not be written."""
    with contextlib.suppress(OSError):
        os.nice(19)  # use only the CPU time that the search leaves
    try:
        write_page(RecordedRun.of_search(location))
    except CellscoutError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
