"""The best of a search, evaluated fairly: cross-validation with several seeds, and tests of the differences."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
