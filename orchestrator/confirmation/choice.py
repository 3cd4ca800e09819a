"""Chooses the candidates of a confirmation by their estimated true scores. Pure functions of a run's state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from orchestrator.config import ConfirmationSettings
from orchestrator.objectives import accuracy_error
from orchestrator.record import ConfirmationPlanned, RunInfo, RunState, Trial, score_of

CANDIDATES = 5
"""With one objective, the number of candidates if `confirmation.candidates` is unset."""
MIN_TRAININGS = 2
"""With fewer new trainings of a candidate nothing is compared, because nothing shows how much they vary."""
MIN_REPEATS = 4
"""With fewer repeats, how much they vary says less about the noise than the number of validation images."""


@dataclass(frozen=True)
class Noise:
    """The standard deviation of the score of one training, and where it is from; None if nothing says it."""

    deviation: float | None
    source: Literal["repeats", "validation_images"] | None


def plan_confirmation(state: RunState, settings: ConfirmationSettings, info: RunInfo) -> ConfirmationPlanned | str:
    """Choose the candidates, and limit the training time. Return the reason if there is nothing to confirm.

    If the time does not suffice to train all of them again `MIN_TRAININGS` times, there are fewer candidates. A plan on
    record stays until the search or the settings have changed.
    """
    spent = sum(trial.train_seconds for trial in state.trials.values())
    seconds = settings.share * spent
    known = state.confirmation
    if known is not None and (known.limit, known.trainings, known.train_seconds, known.trained) == (
        settings.candidates,
        settings.trainings,
        seconds,
        state.trained,
    ):
        return known
    if settings.candidates == 0:
        return "confirmation.candidates is 0"
    metric, _ = score_of(state.objectives)
    if metric not in state.objectives:
        return "no objective depends on the training"
    noise = noise_of(state, info)
    limit = settings.candidates or (CANDIDATES if len(state.objectives) == 1 else None)
    ranked = best_candidates(state, noise)[:limit]
    if not ranked:
        return "no trial has completed its training"
    best, wanted = ranked, min(2, len(ranked))
    while best and MIN_TRAININGS * sum(expected_seconds(state, trial) for trial in best) > seconds * (1 + 1e-9):
        best = best[:-1]
    if len(best) < wanted:
        needed = MIN_TRAININGS * sum(expected_seconds(state, trial) for trial in ranked[:wanted]) / spent
        return (
            f"confirmation.share = {settings.share:g} of the training time of the search is too little to train two "
            f"candidates twice; resume with --set confirmation.share={math.ceil(10 * needed) / 10:g}"
        )
    return ConfirmationPlanned(
        candidates=[trial.trial_id for trial in best],
        limit=settings.candidates,
        trainings=settings.trainings,
        train_seconds=seconds,
        trained=state.trained,
        noise=noise.deviation,
        noise_from=noise.source,
    )


def best_candidates(state: RunState, noise: Noise) -> list[Trial]:
    """Return the candidates that completed their training, best first by the estimate of their true score.

    With several objectives, only those on the Pareto front. A candidate whose training was repeated and then diverged
    or failed is left out, and so is the second of two trials of one candidate.
    """
    metric, direction = score_of(state.objectives)
    several = len(state.objectives) > 1
    trials = state.front if several else [t for t in state.trials.values() if t.status == "completed"]
    distinct = {trial.fingerprint: trial for trial in sorted(trials, key=state.losses, reverse=True)}
    sound = [trial for trial in distinct.values() if problem_of(state, trial) is None]
    estimates = estimate(state, sound, noise, metric)
    sign = -1 if direction == "maximize" else 1
    return sorted(sound, key=lambda trial: (sign * estimates[trial.trial_id], state.losses(trial)))


def estimate(state: RunState, trials: Sequence[Trial], noise: Noise, metric: str) -> dict[str, float]:
    """Estimate the true score of each candidate: the mean of its trainings, drawn towards the mean of all candidates.

    The fewer trainings a candidate has, and the larger the noise is beside the differences between the candidates, the
    more it is drawn: the posterior mean of the normal model, whose variances are estimated from the scores (Efron and
    Morris, "Data analysis using Stein's estimator", JASA 70, 1975). Without a known noise nothing is drawn.
    """
    scores = {trial.trial_id: [_value(one, metric) for one in (trial, *repeats_of(state, trial))] for trial in trials}
    means = {name: fmean(found) for name, found in scores.items()}
    if noise.deviation is None or len(means) < 3:
        return means
    centre = fmean(means.values())
    own = {name: noise.deviation**2 / len(found) for name, found in scores.items()}
    spread = max(0.0, variance(means.values()) - fmean(own.values()))
    return {name: centre + (means[name] - centre) * spread / (spread + own[name] or 1.0) for name in means}


def noise_of(state: RunState, info: RunInfo) -> Noise:
    """Estimate the noise of one training's score: from the repeats, or until there are some from the number of images.

    The number of validation images gives less than the whole noise, because trainings differ too.
    """
    metric, _ = score_of(state.objectives)
    groups = [
        [_value(one, metric) for one in repeats_of(state, trial)]
        for trial in state.trials.values()
        if trial.status == "completed"
    ]
    degrees = sum(len(group) - 1 for group in groups if group)
    if degrees >= MIN_REPEATS:
        squares = sum(variance(group) * (len(group) - 1) for group in groups if len(group) > 1)
        return Noise(math.sqrt(squares / degrees), "repeats")
    deviation = image_noise(state, info, metric)
    return Noise(deviation, None if deviation is None else "validation_images")


def image_noise(state: RunState, info: RunInfo, metric: str) -> float | None:
    """The standard error of the best accuracy, by the number of validation images; None if unknown."""
    images, bounds, best = info.counted_examples, info.bounds_of(metric), state.best
    if not images or bounds is None or best is None:
        return None
    return accuracy_error(_value(best, metric), images, bounds)


def repeats_of(state: RunState, trial: Trial) -> list[Trial]:
    """The new trainings of the trial's candidate that have completed."""
    return [repeat for repeat in state.repeats_of(trial) if repeat.status == "completed"]


def problem_of(state: RunState, trial: Trial) -> str | None:
    """Why the candidate is excluded: a new training did not complete. None if it is not excluded."""
    for repeat in state.repeats_of(trial):
        if repeat.status not in ("completed", "running"):
            assert repeat.resample is not None, "a new training has a seed of its own"
            return f"{repeat.status} with seed {repeat.resample.seed}: {repeat.error}"
    return None


def expected_seconds(state: RunState, trial: Trial) -> float:
    """The seconds that another training of the candidate is expected to take."""
    return fmean(one.train_seconds for one in (trial, *repeats_of(state, trial)))


def _value(trial: Trial, metric: str) -> float:
    value = trial.metric(metric)
    assert value is not None, "it completed"
    return value
