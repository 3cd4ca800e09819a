"""What a search is configured with: the settings, TOML, plug-ins, and the components that names stand for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
