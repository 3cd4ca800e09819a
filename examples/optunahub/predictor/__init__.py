"""A Gaussian process on graph features of cells, or on any categorical parameters, as an Optuna sampler."""

from .cell_space import CellSpace
from .nas_bench_201 import NAS_BENCH_201
from .predictor import PredictorSampler

__all__ = ["NAS_BENCH_201", "CellSpace", "PredictorSampler"]
