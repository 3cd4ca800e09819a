"""A search whose trials share a GPU, from the search file to the record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.search.run import run_search
from tests.builders import config


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trials_that_share_a_gpu_train_on_it_as_graphs(tmp_path: Path) -> None:
    asked = config(
        trainable={"name": "cell"},
        network={"repeats": 1, "filters": 4},
        training={"epochs": 2},
        resources={"gpus_per_trial": 0.5},
        budget={"trials": 4},
    )
    trials = run_search(asked, run_dir=tmp_path / "run").state.trials.values()
    assert {(trial.status, trial.device) for trial in trials} == {("completed", "cuda")}
