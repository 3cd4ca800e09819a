"""`python -m orchestrator.cli`: the command `cellscout`."""

from orchestrator.cli.app import main

main()
