"""NASNet's controller as an Optuna sampler, for any study of one objective over categorical parameters.

Knows Optuna and PyTorch (imported at the first proposal after a trial has finished). Does not know cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.samplers.final_merits import FinalMerits
from orchestrator.samplers.history import (
    begins_with,
    check_one_objective,
    draw_independently,
    finished_trials,
    new_seed,
)

if TYPE_CHECKING:
    import torch

Algorithm = Literal["ppo", "reinforce"]

LEARNING_RATES: dict[str, float] = {"ppo": 0.002, "reinforce": 0.008}
"""Adam's default learning rate by algorithm. REINFORCE takes one step per batch, PPO takes `epochs` steps."""


@final
class ControllerSampler(BaseSampler):
    """The recurrent controller of NASNet, trained by reinforcement learning (Zoph et al. 2018); options as below.

    Source: Learning Transferable Architectures for Scalable Image Recognition, section 3 and appendices A.1 and A.2. A
    one-layer LSTM makes one decision per step, by a softmax per decision, and receives its last decision as input. The
    policy is updated once per `batch` finished trials. The decisions are the categorical parameters. Each distinct set
    of decisions among the trials has its own controller. Other parameters, and all parameters until the first trial has
    finished, are drawn uniformly.

    The reward is the trial's score, for a pruned or paused one that which is expected at the end by what earlier trials
    gained: see `FinalMerits`. A trial without a finite score is skipped. The advantage is the reward minus the moving
    average of rewards (the paper's baseline), divided by the moving average of the absolute differences or by the mean
    difference of the batch, whichever is larger. So the score's unit does not matter, and after equal scores the first
    difference does not count a million times. The entropy bonus is divided by the square root of the number of
    decisions, because one decision's share in the advantage shrinks likewise.

    The paper used 20,000 samples, a learning rate of 0.00035 and an entropy weight of 0.00001, for unscaled rewards. A
    few hundred trials need larger steps, and larger steps need more entropy, or the policy settles on the first good
    candidate; both defaults are ours. The sampler proposes a candidate again if the policy is confident in it.

    The policy depends only on the seed and on the finished trials in the order in which they finished. A draw from it
    depends on the seed and the trial's number. PPO's ratios compare with the policy just before the update: trials that
    were proposed by an older policy, or come from elsewhere, are treated as drawn from that policy.

    Args:
        algorithm: `ppo`, or `reinforce` as in Zoph and Le 2017.
        hidden: units of the LSTM and of the embeddings; 100 in the paper.
        batch: trials per update; 20 in the paper.
        learning_rate: Adam's learning rate, between 0 and 1; None takes the algorithm's in `LEARNING_RATES`.
        entropy_weight: weight of the policy's entropy relative to an advantage of 1.
        baseline_decay: weight of the past in the moving averages, in [0, 1); 0.95 in the paper.
        clip: PPO clips the ratio of probabilities to 1 - clip and 1 + clip.
        epochs: steps that PPO takes per batch.
        seed: seed of the initial weights and all draws; None takes one from the operating system.

    Raises:
        ValueError: an option is out of its bounds.
    """

    several_objectives = False

    def __init__(
        self,
        *,
        algorithm: Algorithm = "ppo",
        hidden: int = 100,
        batch: int = 20,
        learning_rate: float | None = None,
        entropy_weight: float = 0.3,
        baseline_decay: float = 0.95,
        clip: float = 0.2,
        epochs: int = 5,
        seed: int | None = None,
    ) -> None:
        if algorithm not in LEARNING_RATES:
            raise ValueError(f"algorithm is {algorithm!r}; it must be one of {', '.join(LEARNING_RATES)}")
        for name, count in (("hidden", hidden), ("batch", batch), ("epochs", epochs)):
            if count < 1:
                raise ValueError(f"{name} is {count}; it must be at least 1")
        rate = LEARNING_RATES[algorithm] if learning_rate is None else learning_rate
        for name, value in (("learning_rate", rate), ("clip", clip)):
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}; it must be between 0 and 1, both excluded")
        if not 0 <= entropy_weight < math.inf:
            raise ValueError(f"entropy_weight is {entropy_weight}; it must be finite and at least 0")
        if not 0 <= baseline_decay < 1:
            raise ValueError(f"baseline_decay is {baseline_decay}; it must be at least 0 and less than 1")
        self._seed = new_seed() if seed is None else seed
        self._options = _Options(
            hidden=hidden,
            batch=batch,
            learning_rate=rate,
            entropy_weight=entropy_weight,
            baseline_decay=baseline_decay,
            clip=clip,
            epochs=epochs if algorithm == "ppo" else 1,
            seed=self._seed,
        )
        self._controllers: _StudyControllers | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the decisions of the last finished trial; before one has finished, none."""
        check_one_objective(study, self)
        finished = finished_trials(study)
        return dict(_decisions(finished[-1].distributions)) if finished else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all decisions from the policy of the controller that learns this search."""
        if not search_space:
            return {}
        finished = finished_trials(study)
        if self._controllers is None or not self._controllers.is_prefix_of(study, finished):
            self._controllers = _StudyControllers(study, self._options)
        self._controllers.extend(finished)
        controller = self._controllers.by_decisions[frozenset(_decisions(search_space).items())]
        return controller.propose(np.random.default_rng([self._seed, trial.number]))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly, until a trial has finished, and later for parameters that the last finished trial lacks."""
        return draw_independently(study, trial, name=param_name, distribution=param_distribution, seed=self._seed)


class _Options(NamedTuple):
    """The checked options of `ControllerSampler`. REINFORCE is PPO with one epoch, in which all ratios are 1."""

    hidden: int
    batch: int
    learning_rate: float
    entropy_weight: float
    baseline_decay: float
    clip: float
    epochs: int
    seed: int


class _StudyControllers:
    """A cache of the controllers trained on the first finished trials of a study."""

    def __init__(self, study: Study, options: _Options) -> None:
        self.study = study
        self.options = options
        self.counted: list[FrozenTrial] = []
        self._merits = FinalMerits(study)
        self.by_decisions: dict[frozenset[tuple[str, CategoricalDistribution]], _Controller] = {}

    def is_prefix_of(self, study: Study, finished: list[FrozenTrial]) -> bool:
        """Return whether the study's finished trials begin with those that were learned from."""
        return study is self.study and begins_with(finished, self.counted)

    def extend(self, finished: list[FrozenTrial]) -> None:
        """Learn from each finished trial that was not learned from yet."""
        for trial in finished[len(self.counted) :]:
            self.counted.append(trial)
            self._merits.add(trial)
            decisions, reward = _decisions(trial.distributions), self._merits.of(trial)
            if decisions:
                key = frozenset(decisions.items())  # ignores the order; the controller keeps that of its first trial
                if key not in self.by_decisions:
                    self.by_decisions[key] = _Controller(decisions, self.options)
                if math.isfinite(reward):
                    self.by_decisions[key].learn(trial.params, reward)


class _Controller:
    """A policy over an ordered set of decisions, with its optimiser, baseline and unfinished batch.

    Uses double precision, so that another machine's rounding does not change a choice.
    """

    def __init__(self, decisions: Mapping[str, CategoricalDistribution], options: _Options) -> None:
        import torch

        generator = torch.Generator().manual_seed(options.seed)

        def weights(*shape: int) -> torch.Tensor:
            values = torch.empty(shape, dtype=torch.float64).uniform_(-0.1, 0.1, generator=generator)
            return values.requires_grad_()

        self.decisions = decisions
        self.options = options
        length, hidden = len(decisions), options.hidden
        max_choices = max(len(distribution.choices) for distribution in decisions.values())
        self.lstm = [weights(4 * hidden, hidden), weights(4 * hidden, hidden), weights(4 * hidden), weights(4 * hidden)]
        self.first_input = weights(1, hidden)
        self.embeddings = weights(length, max_choices, hidden)
        self.heads, self.biases = weights(length, hidden, max_choices), weights(length, 1, max_choices)
        self.mask = torch.zeros(length, 1, max_choices, dtype=torch.float64)
        for step, distribution in enumerate(decisions.values()):
            self.mask[step, :, len(distribution.choices) :] = -1e9  # probability 0 for choices that do not exist
        parameters = [*self.lstm, self.first_input, self.embeddings, self.heads, self.biases]
        self.optimizer = torch.optim.Adam(parameters, lr=options.learning_rate)
        self.batch: list[tuple[list[int], float]] = []
        self.baseline = self.spread = math.nan

    def propose(self, generator: np.random.Generator) -> dict[str, Any]:
        """Draw one decision after the other; the argmax of logits plus Gumbel noise is a draw from the softmax."""
        import torch

        noise = torch.from_numpy(generator.gumbel(size=self.mask.shape))
        proposal = {}
        with torch.no_grad(), _one_thread():
            offsets = self.biases + self.mask + noise
            step_input, hidden = self.first_input, torch.zeros_like(self.first_input)
            cell = hidden
            for step, (name, distribution) in enumerate(self.decisions.items()):
                hidden, cell = torch.lstm_cell(step_input, (hidden, cell), *self.lstm)
                choice = int((hidden @ self.heads[step] + offsets[step]).argmax())
                step_input = self.embeddings[step, choice, None]
                proposal[name] = distribution.choices[choice]
        return proposal

    def learn(self, params: Mapping[str, Any], reward: float) -> None:
        """Add a trial to the batch; if the batch is full, update the policy and empty the batch."""
        choices = [int(distribution.to_internal_repr(params[name])) for name, distribution in self.decisions.items()]
        self.batch.append((choices, reward))
        if len(self.batch) == self.options.batch:
            with _one_thread():
                self._update(*zip(*self.batch, strict=True))
            self.batch = []

    def _update(self, batch: tuple[list[int], ...], rewards: tuple[float, ...]) -> None:
        import torch

        choices = torch.tensor(batch).T  # shape (decisions, trials)
        advantages = torch.tensor(self._advantages(np.array(rewards)), dtype=torch.float64)
        bonus = self.options.entropy_weight / math.sqrt(len(self.decisions))
        before: torch.Tensor | None = None
        for _ in range(self.options.epochs):
            logs = self._log_probabilities(choices)
            chosen = logs.gather(2, choices[:, :, None])[:, :, 0]
            before = chosen.detach() if before is None else before
            ratios = (chosen - before).exp()
            clipped = ratios.clamp(1 - self.options.clip, 1 + self.options.clip)
            gains = torch.minimum(ratios * advantages, clipped * advantages)
            entropies = -(logs.exp() * logs).sum(2)
            self.optimizer.zero_grad()
            (-(gains + bonus * entropies).sum(0).mean()).backward()
            self.optimizer.step()

    def _advantages(self, rewards: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
        """Return (reward - baseline) / spread for each reward, then update both moving averages."""
        first = math.isnan(self.baseline)
        if first:
            self.baseline = float(rewards.mean())
        spread = float(abs(rewards - self.baseline).mean())
        if first:
            self.spread = spread
        # If all scores are equal, the differences are rounding errors; the lower bound keeps them small.
        unit = max(self.spread, spread, 1e-9 * abs(self.baseline), np.finfo(float).tiny)
        advantages = [float(reward - self.baseline) / unit for reward in rewards]
        decay = self.options.baseline_decay
        for reward in rewards:
            self.spread = decay * self.spread + (1 - decay) * float(abs(reward - self.baseline))
            self.baseline = decay * self.baseline + (1 - decay) * float(reward)
        return advantages

    def _log_probabilities(self, choices: torch.Tensor) -> torch.Tensor:
        """Return the log-probability of every choice given the trial's earlier choices.

        Shape (decisions, trials, choices).
        """
        import torch

        length, trials = choices.shape
        previous = self.embeddings[torch.arange(length - 1)[:, None], choices[:-1]]
        inputs = torch.cat([self.first_input.expand(1, trials, -1), previous])
        zeros = inputs.new_zeros(1, trials, self.options.hidden)
        outputs, _, _ = torch.lstm(inputs, (zeros, zeros), self.lstm, True, 1, 0.0, False, False, False)
        return torch.log_softmax(torch.bmm(outputs, self.heads) + self.biases + self.mask, 2)


def _decisions(distributions: Mapping[str, BaseDistribution]) -> dict[str, CategoricalDistribution]:
    """Return the categorical parameters with more than one choice."""
    return {
        name: distribution
        for name, distribution in distributions.items()
        if isinstance(distribution, CategoricalDistribution) and not distribution.single()
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit PyTorch to one thread, and restore the number of threads afterwards.

    With trials keeping the processors busy, an update of 0.2 s took 12 s, because the threads waited for each other.
    Also, the order of a sum depends on the number of threads. Without this limit, the policy would depend on it too.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
