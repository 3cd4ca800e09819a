"""What follows a search: its networks found by name, trained in full, exported, explained, used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
