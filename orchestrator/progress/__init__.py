"""How work is shown while it goes on: a calm panel in a terminal and in a notebook, plain lines elsewhere.

`standing` knows how it looks, `display` where and when it is shown. What there is to say: of a search `search_view`,
with `time_left`; of smaller work `work_view`; of a retraining `orchestrator.networks.retraining.progress_view`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
