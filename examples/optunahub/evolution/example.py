"""Searches twelve operations and the states that they read, with a made-up score in place of a training."""

from pathlib import Path

import optuna
import optunahub

# Loads the package of which this file is a part.
package = optunahub.load_local_module("samplers/evolution", registry_root=str(Path(__file__).parents[2]))


def objective(trial: optuna.Trial) -> float:
    score = 0.0
    for block in range(12):
        operation = trial.suggest_categorical(f"{block}.operation", ["identity", "conv_3x3", "max_pool_3x3"])
        state = trial.suggest_categorical(f"{block}.state", [0, 1])
        score += (operation == "conv_3x3") + 0.5 * (state == 1)
    return score


sampler = package.EvolutionSampler(population=20, tournament=5, seed=0)
study = optuna.create_study(direction="maximize", sampler=sampler)
study.optimize(objective, n_trials=200)
print(study.best_value, study.best_params)
