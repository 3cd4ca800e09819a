"""Finds out which of the best candidates of a search is the best, by training them again.

Decides what is trained and what the scores say. Does not know how trials run.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
