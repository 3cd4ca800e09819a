"""The record of a run: the event log, the state folded from it, the run directory, and every result file."""
