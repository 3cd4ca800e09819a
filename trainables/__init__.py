"""Builds and trains candidates. Importing the package does not import torch.

Everything is imported when it is first used, so that reading settings does not wait for Ray. `__init__.pyi` lists it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
