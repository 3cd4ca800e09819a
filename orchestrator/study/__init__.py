"""The Optuna study of a run: live while it searches, rebuilt from its record, and as a journal file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
