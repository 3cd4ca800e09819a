"""Decides what is trained: configuration, search, samplers, schedulers, record, reports.

Everything is imported when it is first used, so that `cellscout --help` need not wait for Ray. `__init__.pyi` lists it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
