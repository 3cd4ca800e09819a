"""Compares the candidates of a confirmation by their new trainings. Pure functions of a run's state."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from orchestrator.confirmation.choice import MIN_TRAININGS, image_noise, problem_of, repeats_of
from orchestrator.confirmation.posterior import DRAWS, Floats, true_scores
from orchestrator.objectives import COSTS, dominates
from orchestrator.record import CandidatesCompared, ConfirmedCandidate, ConfirmedScore, RunInfo, RunState, Trial
from orchestrator.significance import CONFIDENCE, within


def compare(state: RunState, info: RunInfo) -> CandidatesCompared | None:
    """Return what the new trainings say about the candidates of the last plan.

    Candidates with a training that diverged or failed are excluded. None if all are excluded, or if any other one has
    fewer than `MIN_TRAININGS` completed trainings.
    """
    plan = state.confirmation
    assert plan is not None, "it is on record"
    trials = [state.trials[trial_id] for trial_id in plan.candidates]
    problems = {trial.trial_id: problem_of(state, trial) for trial in trials}
    sound = [trial for trial in trials if problems[trial.trial_id] is None]
    if not sound or min(len(repeats_of(state, trial)) for trial in sound) < MIN_TRAININGS:
        return None
    draws = {name: _draws(state, info, sound, name) for name in state.objectives}
    signs = [-1 if direction == "maximize" else 1 for direction in state.objectives.values()]
    losses = np.stack([sign * draws[name] for name, sign in zip(state.objectives, signs, strict=True)], axis=-1)
    chances = _chances(losses)
    means = [tuple(row) for row in losses.mean(0)]
    in_doubt = most_likely_best(chances) if len(signs) == 1 else chances > 1 - CONFIDENCE
    candidates = [
        ConfirmedCandidate(
            trial_id=trial.trial_id,
            trainings=len(repeats_of(state, trial)),
            scores={name: _score(state, info, trial, name, draws[name][:, place]) for name in state.objectives},
            chance=float(chances[place]),
            in_doubt=bool(in_doubt[place]),
            on_front=not any(dominates(other, means[place]) for other in means),
        )
        for place, trial in enumerate(sound)
    ]
    # The first objective decides, then the next ones, as for the best trial of a search.
    order = sorted(range(len(sound)), key=lambda place: (not candidates[place].on_front, means[place]))
    out = [
        ConfirmedCandidate(trial_id=trial.trial_id, trainings=len(repeats_of(state, trial)), problem=problem)
        for trial in trials
        if (problem := problems[trial.trial_id]) is not None
    ]
    return CandidatesCompared(candidates=[*(candidates[place] for place in order), *out], trained=state.trained)


def _draws(state: RunState, info: RunInfo, trials: Sequence[Trial], metric: str) -> Floats:
    """Draw the true values of an objective: one row a draw, one column a candidate."""
    if metric in COSTS:
        return np.tile([trial.costs[metric] for trial in trials], (DRAWS, 1))
    values = {trial.trial_id: _values(state, trial, metric) for trial in trials}
    return true_scores(values, _expected_noise(state, info, metric))


def _values(state: RunState, trial: Trial, metric: str) -> dict[int, float]:
    """The metric at the end of each new training, by its seed."""
    return {
        repeat.resample.seed: value
        for repeat in repeats_of(state, trial)
        if repeat.resample is not None and (value := repeat.metric(metric)) is not None
    }


def _expected_noise(state: RunState, info: RunInfo, metric: str) -> float | None:
    """Return the standard error implied by the number of validation images.

    None unless each training had a fresh split.
    """
    fresh = all(one.resample is not None and one.resample.split == "fresh" for one in state.repeats.values())
    return image_noise(state, info, metric) if fresh else None


def _score(state: RunState, info: RunInfo, trial: Trial, metric: str, draws: Floats) -> ConfirmedScore:
    if metric in COSTS:
        return ConfirmedScore(mean=trial.costs[metric], estimate=trial.costs[metric], interval=None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return ConfirmedScore(
        mean=fmean(_values(state, trial, metric).values()),
        estimate=float(draws.mean()),
        interval=within((float(low), float(high)), info.bounds_of(metric)),
    )


def _chances(losses: Floats) -> Floats:
    """Return for each candidate the fraction of the draws in which no other dominates it; with one loss: is better.

    Args:
        losses: of each draw, each candidate and each objective.
    """
    dominated = np.zeros(losses.shape[:2], bool)
    for place in range(losses.shape[1]):
        other = losses[:, place : place + 1]
        dominated |= (other <= losses).all(-1) & (other < losses).any(-1)
    return 1.0 - dominated.mean(0)


def most_likely_best(chances: Floats) -> NDArray[np.bool_]:
    """Return the smallest set of candidates that has the best one in it with a probability of `CONFIDENCE`."""
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]
    found = np.zeros(len(chances), bool)
    found[order[before < CONFIDENCE]] = True
    return found
