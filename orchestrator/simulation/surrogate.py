"""Answers any architecture of a space with a predicted learning curve, and noise like that of recorded curves.

A surrogate benchmark (Zela et al., "Surrogate NAS Benchmarks", ICLR 2022: NAS-Bench-301) whose curves are predicted as
in NAS-Bench-x11 (Yan et al., NeurIPS 2021, section 3): one regression for each of the first singular vectors of the
recorded curves, and noise that keeps its correlation between epochs. The regressions are Gaussian processes on graph
features.

What it cannot do: far from all recorded architectures it expects their mean, and its noiseless scores never leave the
range of the recorded ones. So an architecture that is better than all recorded ones is not recognised. Seconds have no
noise, and losses are not predicted. The predictor sampler learns from the same features with the same kind of model,
which may favour it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from orchestrator.errors import InputError
from orchestrator.samplers import Encoder, to_point
from orchestrator.simulation.answers import Curve
from orchestrator.simulation.curve_ensemble import cross_validate
from orchestrator.simulation.prediction_quality import quality_of
from orchestrator.simulation.recorded_curves import RecordedCurves, reported_row

Floats = NDArray[np.float64]

MIN_CANDIDATES = 50
"""With fewer, cross-validation says too little about the quality."""
EDGE = 0.001
"""Scores below it, and above 1 less it, count as these, because 0 and 1 have no finite log-odds."""


@final
class Surrogate:
    """An ensemble of models fitted to recorded curves; implements `Answers`.

    The models are those of a cross-validation: each has not seen one fold of the candidates. Their mean is the
    noiseless curve of an architecture. The noise is a recorded curve of deviations: of a training from the mean of its
    architecture, if some were trained several times; otherwise of a training from what the cross-validation predicts.
    The latter contain the errors of the models too, so they are an upper bound of the noise. Models and noise are those
    of the log-odds of accuracies, because a good architecture varies less than a bad one.

    Args:
        recorded: at least `MIN_CANDIDATES` candidates that were trained for all epochs.

    Raises:
        InputError: there are fewer candidates.
    """

    def __init__(self, recorded: RecordedCurves) -> None:
        self.space = recorded.space
        self.epochs = recorded.epochs
        whole = [place for place, curve in enumerate(recorded.curves) if len(curve) == self.epochs]
        if len(whole) < MIN_CANDIDATES:
            raise InputError(
                f"the record has {len(whole)} candidates that were trained for {self.epochs} epochs; a surrogate needs "
                f"at least {MIN_CANDIDATES} (--answers nearest needs fewer)"
            )
        curves = [recorded.curves[place] for place in whole]
        self._choices = {name: list(domain.categories) for name, domain in self.space.param_space().items()}
        self._encoder = Encoder(self.space)
        features = self._features([self._params(recorded.codes[place]) for place in whole])
        scores = np.array([[row.metrics["val_accuracy"] for row in curve] for curve in curves])
        seconds = np.array([np.mean([row.seconds for row in curve]) for curve in curves])
        odds = _log_odds(scores)
        outputs = np.column_stack([odds, np.log(seconds)])
        self._ensemble, validated = cross_validate(features, outputs)
        self._lowest, self._highest = outputs.min(0), outputs.max(0)
        self.recorded_scores = scores
        """Validation accuracies of the recorded candidates, [candidate, epoch]."""
        self.trainings = {
            row: np.vstack([scores[row], recorded.repeats[place]])
            for row, place in enumerate(whole)
            if place in recorded.repeats
        }
        """Those of all trainings, [training, epoch], of each candidate that has several, by its row."""
        self.validated_scores = expit(validated[:, :-1])
        """Each predicted by the model that has not seen the candidate."""
        self.quality = quality_of(self.validated_scores, scores)
        """The quality of predicted scores, by cross-validation."""
        self.quality_of_seconds = quality_of(validated[:, -1:], outputs[:, -1:])
        """That of the logarithm of the seconds."""
        expected = self._outputs(features)
        self.finals = expit(expected[:, -2])
        """The noiseless final score of each recorded candidate."""
        self.training_seconds = self.epochs * float(np.exp(expected[:, -1]).mean())
        """The mean duration of a whole training of the recorded candidates."""
        # The mean of n trainings contains 1/n of each, so deviations from it are too small by a factor.
        deviations = [
            (each - each.mean(0)) * math.sqrt(len(each) / (len(each) - 1))
            for each in map(_log_odds, self.trainings.values())
        ]
        self._noise = np.concatenate(deviations) if deviations else odds - validated[:, :-1]
        self._noise -= self._noise.mean(0)
        self._learning_rates = [row.metrics["learning_rate"] for row in curves[0]]
        self._images = curves[0][0].metrics["images_per_second"] * curves[0][0].seconds

    @property
    def best(self) -> float:
        """The best noiseless final score of the recorded candidates.

        An architecture that was not recorded can be better, so a regret can be below 0. The best of all architectures
        is not known: a search for the highest prediction finds errors of the models, and nobody has trained what it
        finds.
        """
        return float(self.finals.max())

    @property
    def worst(self) -> float:
        """The lowest one."""
        return float(self.finals.min())

    @property
    def note(self) -> str:
        """What the answers are, and their quality by cross-validation."""
        noise = (
            "that of repeated trainings, so samplers learn more easily than in a real search"
            if self.trainings
            else "the errors of the model, which are larger than the noise of a training"
        )
        return (
            f"each proposal gets the curve that a model of the recorded curves predicts, with noise: {noise}. By "
            f"cross-validation, final scores are predicted with R2 {self.quality.r2[-1]:.2f} and Kendall's tau "
            f"{self.quality.tau[-1]:.2f}. Regret is without noise; below 0, the model expects more of the leader than "
            "of every recorded candidate"
        )

    @property
    def limit(self) -> None:
        """None, because any number of proposals can be answered."""
        return None

    def mean_curves(self, several: Sequence[Mapping[str, Any]]) -> Floats:
        """Return the noiseless scores of architectures, [architecture, epoch]."""
        return expit(self._outputs(self._features(several))[:, :-1])

    def answers(self, seed: int) -> Callable[[dict[str, Any]], Curve]:
        """Return a function for one search that gives each proposal its curve.

        The seed and the architecture's fingerprint determine the noise, so in one search an architecture has one curve.
        Its true final score is the noiseless one.
        """

        def answer(params: dict[str, Any]) -> Curve:
            decisions = {name: params[name] for name in self._choices}  # a trial's configuration has further entries
            (outputs,) = self._outputs(self._features([decisions]))
            draw = np.random.default_rng([seed, int(self.space.decode(decisions).fingerprint, 16)])
            scores = expit(outputs[:-1] + draw.choice(self._noise))
            return self._curve(scores, seconds=float(np.exp(outputs[-1])), final=float(expit(outputs[-2])))

        return answer

    def _curve(self, scores: Floats, *, seconds: float, final: float) -> Curve:
        unknown = dict.fromkeys(("train_loss", "train_accuracy", "val_loss"), math.nan)
        speed = {"seconds": seconds, "images_per_second": self._images / seconds}
        rows = [
            reported_row({"epoch": epoch, "val_accuracy": score, "learning_rate": rate, **speed, **unknown})
            for epoch, (score, rate) in enumerate(zip(scores.tolist(), self._learning_rates, strict=True), start=1)
        ]
        return Curve(rows, final)

    def _params(self, code: NDArray[np.int64]) -> dict[str, Any]:
        return {name: options[place] for (name, options), place in zip(self._choices.items(), code, strict=True)}

    def _features(self, several: Sequence[Mapping[str, Any]]) -> Floats:
        return self._encoder.features([to_point(params) for params in several], self._choices)

    def _outputs(self, features: Floats) -> Floats:
        """Return noiseless log-odds by epoch and the logarithm of an epoch's seconds, within the recorded range."""
        return np.clip(self._ensemble.predict(features), self._lowest, self._highest)


def _log_odds(scores: Floats) -> Floats:
    return logit(np.clip(scores, EDGE, 1 - EDGE))
