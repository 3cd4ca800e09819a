"""`python -m orchestrator.cli`: the command `cellscout`."""

import sys

if not sys.flags.safe_path:
    # Python has put the working folder first, where a file called like a package would be imported instead of it.
    sys.path.append(sys.path.pop(0))

from orchestrator.cli.app import main

main()
