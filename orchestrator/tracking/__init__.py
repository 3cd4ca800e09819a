"""A running search told to TensorBoard, MLflow and Weights & Biases, each through Ray Tune's own callback.

What those callbacks would hear from Ray Tune itself is not what a user wants to see: a report of ours may hold several
epochs, a trial that goes on elsewhere is a new one to Ray Tune, and it counts what it hears anew. So they are told the
facts of the event log, once each, by a thread: the record is the truth here as elsewhere, and a tool that is slow or
gone costs the search nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
