"""Everything that uses Ray: the connection, the resources of each trial, Ray Tune's loop, jobs, the doctor."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
