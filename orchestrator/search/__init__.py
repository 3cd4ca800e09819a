"""A search: its story, its setup, and what sits between the study and Ray Tune while it runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
