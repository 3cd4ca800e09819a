"""A search: its setup, its run and resume, and what connects the study to Ray Tune."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
