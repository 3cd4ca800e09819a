"""Logs a running search to TensorBoard, MLflow and Weights & Biases, with each tool's own API.

Ray Tune's logger callbacks are not attached to the run: one of our reports may hold several epochs, a trial that
continues elsewhere is a new trial to Ray Tune, and Ray Tune's own counters start anew. Instead a thread per tool sends
each event of the log once. The event log stays the only source. A slow or unreachable tool does not delay the search.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
