"""Progress of running work: a panel in a terminal or a notebook, plain lines elsewhere.

A view makes a snapshot of the work: `search_view`, with `time_left`, of a search; `work_view` of smaller work; and
`orchestrator.networks.retraining.progress_view` of a retraining. `snapshot` draws it, and `display` decides where and
when.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
