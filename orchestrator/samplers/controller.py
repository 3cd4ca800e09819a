"""NASNet's controller as an Optuna sampler: it works in any study of one objective over categorical parameters.

Knows Optuna and, once there is something to learn, PyTorch. Does not know cells.
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

from orchestrator.samplers.history import draw_independently, finished_trials, merit, new_seed

if TYPE_CHECKING:
    import torch

Algorithm = Literal["ppo", "reinforce"]

LEARNING_RATES: dict[str, float] = {"ppo": 0.002, "reinforce": 0.008}
"""Adam's, where none is given; REINFORCE takes one step of it where PPO takes `epochs`."""


@final
class ControllerSampler(BaseSampler):
    """The recurrent controller of NASNet, taught by reinforcement (Zoph et al. 2018); options as below.

    Learning Transferable Architectures for Scalable Image Recognition, section 3 and appendices A.1 and A.2. A
    one-layer LSTM makes one decision a step, by a softmax of its own, and is fed what it decided last; every `batch`
    finished trials teach it once. The decisions are the categorical parameters, and each set of them that trials are
    found to have has a controller. Other parameters, and trials before the first has finished, are drawn uniformly.

    The reward is the trial's score, a pruned one's last; a trial without a finite score teaches nothing. The advantage
    is the reward minus the moving average of rewards (the paper's baseline), divided by the moving average of such
    distances, so that the score's unit does not matter. The entropy bonus is divided by the square root of the number
    of decisions, as one decision's share in the advantage shrinks likewise.

    The paper had 20,000 samples, a learning rate of 0.00035 and an entropy weight of 0.00001, for unscaled rewards. A
    few hundred trials need quicker steps, and these need more entropy lest the policy settle on the first good
    candidate; both defaults are ours. Candidates are proposed again where the policy is sure of them.

    The policy follows from the seed and the finished trials in the order in which they finished; a draw from it, from
    the seed and the trial's number. PPO compares with the policy just before the update: trials that were begun under
    an older one, or elsewhere, are taken as drawn from it.

    Args:
        algorithm: `ppo`, or `reinforce` as in Zoph and Le 2017.
        hidden: units of the LSTM, and of the embeddings; 100 in the paper.
        batch: trials per update; 20 in the paper.
        learning_rate: Adam's; None takes `LEARNING_RATES`.
        entropy_weight: of the policy's entropy, against an advantage of 1.
        baseline_decay: weight of the past in the moving averages; 0.95 in the paper.
        clip: how far from 1 PPO rewards a ratio of probabilities.
        epochs: steps that PPO takes with a batch.
        seed: of the first weights and all draws; None takes one from the operating system.

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
            raise ValueError(f"algorithm is {algorithm!r}; known are {', '.join(LEARNING_RATES)}")
        for name, count in (("hidden", hidden), ("batch", batch), ("epochs", epochs)):
            if count < 1:
                raise ValueError(f"{name} is {count}; at least 1 is needed")
        rate = LEARNING_RATES[algorithm] if learning_rate is None else learning_rate
        for name, value in (("learning_rate", rate), ("clip", clip)):
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}; it must lie between 0 and 1, both excluded")
        if not 0 <= entropy_weight < math.inf:
            raise ValueError(f"entropy_weight is {entropy_weight}; at least 0 is needed, and a finite number")
        if not 0 <= baseline_decay < 1:
            raise ValueError(f"baseline_decay is {baseline_decay}; at least 0 and less than 1 is needed")
        self._seed = new_seed() if seed is None else seed
        self._teaching = _Teaching(
            hidden, batch, rate, entropy_weight, baseline_decay, clip, epochs if algorithm == "ppo" else 1, self._seed
        )
        self._lessons: _Lessons | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The decisions of the last trial to finish."""
        finished = finished_trials(study)
        return dict(_decisions(finished[-1].distributions)) if finished else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the controller of these decisions decides."""
        if not search_space:
            return {}
        finished = finished_trials(study)
        if self._lessons is None or not self._lessons.precede(study, finished):
            self._lessons = _Lessons(study, self._teaching)
        self._lessons.follow(finished)
        controller = self._lessons.controllers[frozenset(_decisions(search_space).items())]
        return controller.propose(np.random.default_rng([self._seed, trial.number]))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A uniform draw: of the first trials, and of what is no decision of the last one to finish."""
        return draw_independently(self._seed, study, trial, param_name, param_distribution)


class _Teaching(NamedTuple):
    """The options of `ControllerSampler`, checked; REINFORCE is PPO of one epoch, where all ratios are 1."""

    hidden: int
    batch: int
    learning_rate: float
    entropy_weight: float
    baseline_decay: float
    clip: float
    epochs: int
    seed: int


class _Lessons:
    """The controllers of a study up to some finished trial; a memory of what follows from the study at any time."""

    def __init__(self, study: Study, teaching: _Teaching) -> None:
        self.study = study
        self.teaching = teaching
        self.numbers: list[int] = []
        self.controllers: dict[frozenset[tuple[str, CategoricalDistribution]], _Controller] = {}

    def precede(self, study: Study, finished: list[FrozenTrial]) -> bool:
        """Whether the finished trials of the study begin with those that were followed."""
        return study is self.study and [trial.number for trial in finished[: len(self.numbers)]] == self.numbers

    def follow(self, finished: list[FrozenTrial]) -> None:
        """Teach what was not taught, trial by trial."""
        for trial in finished[len(self.numbers) :]:
            self.numbers.append(trial.number)
            decisions, reward = _decisions(trial.distributions), merit(self.study, trial)
            if decisions:
                space = frozenset(decisions.items())  # the same in any order; its controller keeps the first trial's
                if space not in self.controllers:
                    self.controllers[space] = _Controller(decisions, self.teaching)
                if math.isfinite(reward):
                    self.controllers[space].learn(trial.params, reward)


class _Controller:
    """A policy over some decisions, in their order, with its optimiser, baseline and the batch that it waits for.

    In double precision, so that another machine's rounding does not change a choice.
    """

    def __init__(self, decisions: Mapping[str, CategoricalDistribution], teaching: _Teaching) -> None:
        import torch

        generator = torch.Generator().manual_seed(teaching.seed)

        def weights(*shape: int) -> torch.Tensor:
            values = torch.empty(shape, dtype=torch.float64).uniform_(-0.1, 0.1, generator=generator)
            return values.requires_grad_()

        self.decisions = decisions
        self.teaching = teaching
        length, hidden = len(decisions), teaching.hidden
        most = max(len(distribution.choices) for distribution in decisions.values())
        self.lstm = [weights(4 * hidden, hidden), weights(4 * hidden, hidden), weights(4 * hidden), weights(4 * hidden)]
        self.start = weights(1, hidden)
        self.embeddings = weights(length, most, hidden)
        self.heads, self.biases = weights(length, hidden, most), weights(length, 1, most)
        self.closed = torch.zeros(length, 1, most, dtype=torch.float64)
        for step, distribution in enumerate(decisions.values()):
            self.closed[step, :, len(distribution.choices) :] = -1e9  # choices that it does not have: probability 0
        parameters = [*self.lstm, self.start, self.embeddings, self.heads, self.biases]
        self.optimizer = torch.optim.Adam(parameters, lr=teaching.learning_rate)
        self.waiting: list[tuple[list[int], float]] = []
        self.baseline = self.spread = math.nan

    def propose(self, generator: np.random.Generator) -> dict[str, Any]:
        """One choice after the other; the largest logit plus Gumbel noise is a draw from the softmax."""
        import torch

        noise = torch.from_numpy(generator.gumbel(size=self.closed.shape))
        proposal = {}
        with torch.no_grad(), _one_thread():
            offsets = self.biases + self.closed + noise
            given, hidden = self.start, torch.zeros_like(self.start)
            cell = hidden
            for step, (name, distribution) in enumerate(self.decisions.items()):
                hidden, cell = torch.lstm_cell(given, (hidden, cell), *self.lstm)
                choice = int((hidden @ self.heads[step] + offsets[step]).argmax())
                given = self.embeddings[step, choice, None]
                proposal[name] = distribution.choices[choice]
        return proposal

    def learn(self, params: Mapping[str, Any], reward: float) -> None:
        """Keep a trial until its batch is full, then update the policy."""
        choices = [int(distribution.to_internal_repr(params[name])) for name, distribution in self.decisions.items()]
        self.waiting.append((choices, reward))
        if len(self.waiting) == self.teaching.batch:
            with _one_thread():
                self._update(*zip(*self.waiting, strict=True))
            self.waiting = []

    def _update(self, batch: tuple[list[int], ...], rewards: tuple[float, ...]) -> None:
        import torch

        choices = torch.tensor(batch).T  # by decision, by trial
        advantages = torch.tensor(self._advantages(np.array(rewards)), dtype=torch.float64)
        bonus = self.teaching.entropy_weight / math.sqrt(len(self.decisions))
        before: torch.Tensor | None = None
        for _ in range(self.teaching.epochs):
            logs = self._log_probabilities(choices)  # by decision, trial and choice
            chosen = logs.gather(2, choices[:, :, None])[:, :, 0]
            before = chosen.detach() if before is None else before
            ratios = (chosen - before).exp()
            clipped = ratios.clamp(1 - self.teaching.clip, 1 + self.teaching.clip)
            gains = torch.minimum(ratios * advantages, clipped * advantages)
            entropies = -(logs.exp() * logs).sum(2)
            self.optimizer.zero_grad()
            (-(gains + bonus * entropies).sum(0).mean()).backward()
            self.optimizer.step()

    def _advantages(self, rewards: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
        """How much better the rewards are than usual, in usual distances; the averages then move on."""
        if math.isnan(self.baseline):
            self.baseline = float(rewards.mean())
            self.spread = float(abs(rewards - self.baseline).mean())
        # Where all scores are equal, differences are rounding errors; they must not be blown up.
        unit = max(self.spread, 1e-9 * abs(self.baseline), np.finfo(float).tiny)
        advantages = [float(reward - self.baseline) / unit for reward in rewards]
        decay = self.teaching.baseline_decay
        for reward in rewards:
            self.spread = decay * self.spread + (1 - decay) * float(abs(reward - self.baseline))
            self.baseline = decay * self.baseline + (1 - decay) * float(reward)
        return advantages

    def _log_probabilities(self, choices: torch.Tensor) -> torch.Tensor:
        """By decision, trial and choice; each given the trial's choices before it."""
        import torch

        length, trials = choices.shape
        previous = self.embeddings[torch.arange(length - 1)[:, None], choices[:-1]]
        given = torch.cat([self.start.expand(1, trials, -1), previous])
        zeros = given.new_zeros(1, trials, self.teaching.hidden)
        outputs, _, _ = torch.lstm(given, (zeros, zeros), self.lstm, True, 1, 0.0, False, False, False)
        return torch.log_softmax(torch.bmm(outputs, self.heads) + self.biases + self.closed, 2)


def _decisions(distributions: Mapping[str, BaseDistribution]) -> dict[str, CategoricalDistribution]:
    """The categorical parameters that leave a choice."""
    return {
        name: distribution
        for name, distribution in distributions.items()
        if isinstance(distribution, CategoricalDistribution) and not distribution.single()
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread, and afterwards on as many as before.

    Beside trials that keep the processors busy, threads that wait for each other took 12 s for an update of 0.2 s; and
    sums in another order would make the policy depend on the number of processors.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
