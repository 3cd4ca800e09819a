"""Searches NAS-Bench-201's cells, with a made-up score in place of a training."""

from pathlib import Path

import optuna
import optunahub

# Loads the package of which this file is a part.
package = optunahub.load_local_module("samplers/predictor", registry_root=str(Path(__file__).parents[2]))
SPACE = package.NAS_BENCH_201


def objective(trial: optuna.Trial) -> float:
    params = {name: trial.suggest_categorical(name, choices) for name, choices in SPACE.decisions()}
    cell = SPACE.decode(params).normal
    operations = [edge.operation for block in cell.blocks for edge in block.edges]
    return operations.count("conv_3x3") - 0.5 * operations.count("none")


study = optuna.create_study(direction="maximize", sampler=package.PredictorSampler(space=SPACE, seed=0))
study.optimize(objective, n_trials=50)
print(study.best_value, study.best_params)
