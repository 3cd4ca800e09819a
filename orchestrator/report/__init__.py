"""Presents the results of a run: in the terminal, on a page, as pictures, and in comparison with other runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
