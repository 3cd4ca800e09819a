"""Logs a running search to TensorBoard, MLflow and Weights & Biases, with each tool's own API.

Ray Tune's logger callbacks are not attached to the run: one of our reports may hold several epochs, a trial that
continues elsewhere is a new trial to Ray Tune, and Ray Tune's own counters start anew. Instead a thread per tool sends
each event of the log once. The event log stays the truth, and a tool that is slow or gone costs the search nothing.
"""

from orchestrator.tracking.trackers import check_tracking, tracked

__all__ = ["check_tracking", "tracked"]
