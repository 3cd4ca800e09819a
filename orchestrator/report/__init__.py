"""What a run came to, shown: in the terminal, on a page, as pictures, beside other runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
