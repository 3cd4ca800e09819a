"""The record of a run: the event log, the state folded from it, the run directory, and every result file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
