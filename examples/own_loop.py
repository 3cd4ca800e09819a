"""An evolution of one's own (after Real et al. 2019): the loop decides what is trained, and cellscout does the rest.

    python own_loop.py runs/own-loop [SETTING ...]

A setting is such as budget.trials=100. The same command again goes on after a stop.
"""

import argparse
import random
from pathlib import Path

import numpy as np

from cellscout import CandidatePool, load_config

POPULATION, TOURNAMENT = 8, 3


def next_architecture(pool):
    population = pool.history[-POPULATION:]  # the oldest die
    if len(population) < POPULATION:
        return pool.space.sample(np.random.default_rng())
    tournament = random.sample(population, TOURNAMENT)
    parent = max(tournament, key=lambda result: result.trial.val_accuracy or 0.0)
    decision, choices = random.choice(list(pool.space.decisions()))
    return pool.space.decode({**pool.space.encode(parent.architecture), decision: random.choice(choices)})


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run_dir", type=Path)
parser.add_argument("settings", nargs="*")
given = parser.parse_args()
config = load_config(changes=["budget.trials=20", *given.settings])
stopped = given.run_dir.exists()
with CandidatePool.resume(given.run_dir) if stopped else CandidatePool(config, run_dir=given.run_dir) as pool:
    for _ in range(POPULATION):
        pool.submit(next_architecture(pool))
    for result in pool.results():  # ends when the budget is spent
        print(result.trial.trial_id, result.trial.status, result.trial.val_accuracy)
        pool.submit(next_architecture(pool))
print(f"the winner is in {pool.search_result.directory}/best")
