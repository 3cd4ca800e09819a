"""The contract of a sampler, as checks in plain Optuna that take less than a minute and need neither Ray nor pytest.

    from cellscout import check_sampler

    check_sampler(lambda seed: MySampler(seed=seed, population=20))

A search asks for many candidates before the first result arrives. Results arrive in any order. Candidates fail, are
pruned or are infeasible, and the same candidate can be reported twice. A search can be stopped and rebuilt from its
record. `check_sampler` runs all checks, and each check can be called by itself. A broken rule raises AssertionError.

Knows Optuna and spaces. Does not know any sampler.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
import statistics
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, final, get_args

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from orchestrator.objectives import Direction
from orchestrator.study import StudyAttributes
from search_spaces import NAS_BENCH_201, NASNET, CellSpace

Make = Callable[..., BaseSampler]
"""Builds a new sampler from a seed; also receives `space=`, a CellSpace, if it has that parameter, as in a search."""

IN_FLIGHT = 64
"""Trials that are asked for before the first result."""

# Two of NASNet's five blocks: 20 decisions instead of 50 take less time and check the same.
SPACES = (replace(NASNET, name="nasnet_of_two_blocks", blocks=2), NAS_BENCH_201)
"""The spaces of the checks: two cells with states, operations and combinations; one cell with operations only."""

FOUR_POINTS = CellSpace(
    name="four_points",
    source="made up",
    operations=("identity", "conv_3x3"),
    blocks=1,
    wiring="all_states",
    shared=True,
)
"""A space of four points, which a few trials exhaust."""

MAX_COPIED = 500
"""Trials that a sampler may copy at once. With copies of all trials, the time of a check grows with their square."""

REPLAYED_EVERY = 7
"""Every seventh proposal is repeated in a rebuilt study; repeating all would take quadratic time."""


def check_sampler(
    make: Make,
    *,
    history: int = 100,
    trials: int = 2000,
    slowdown: float = 20.0,
    replays: bool = True,
    directions: Sequence[str] = ("maximize",),
) -> None:
    """Run every check on the sampler that `make` builds.

    Args:
        make: builds a new sampler from a seed, and from a `space` if it has that parameter. The sampler's initial
            random trials must be fewer than `history`.
        history: number of trials in the study of each check, at least 2; use fewer for a slow sampler.
        trials: number of trials in `check_growth`, at least 40; use fewer for a slow sampler.
        slowdown: maximum ratio of a late ask's time to an early one's (see `check_growth`).
        replays: whether a rebuilt study must continue like the original. Set it to False for samplers that keep random
            state, such as Optuna's own.
        directions: the study's directions, "maximize" or "minimize", one per objective.

    Raises:
        AssertionError: the sampler breaks the contract; the message says how.
        ValueError: `make` is no function, a direction has another name, history is below 2, or trials is below 40.
    """
    if not callable(make):
        raise ValueError(f"make is {make!r}; a function is needed that builds a sampler from a seed: lambda seed: ...")
    if not directions or not set(directions) <= set(get_args(Direction)):
        raise ValueError(f"directions is {directions!r}; each must be one of {', '.join(get_args(Direction))}")
    check_trials_in_flight(make, directions=directions)
    check_endings(make, history=history, directions=directions)
    check_determinism(make, history=history, directions=directions)
    if replays:
        check_replay(make, history=history, directions=directions)
    check_exhausted_space(make, directions=directions)
    check_global_random_state(make, history=history, directions=directions)
    check_growth(make, trials=trials, slowdown=slowdown, directions=directions)


def check_trials_in_flight(make: Make, *, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that 64 asks succeed before the first result, and further asks while results arrive in any order."""
    for space in SPACES:
        with _errors_located(f"with {IN_FLIGHT} trials in flight in {space.name}"):
            study = _make_study(make, seed=0, space=space, directions=directions)
            for _ in _ask_trials(study, space, trials=IN_FLIGHT + 8, ending=complete, in_flight=IN_FLIGHT):
                pass
            for _ in _ask_trials(study, space, trials=8, ending=complete):  # all results have arrived by now
                pass


def check_endings(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that asks succeed if all trials end in the same way, even without a score, and if endings are mixed."""
    for space in SPACES:
        for ending_name, ending in {**ENDINGS, "mixed": mixed}.items():
            with _errors_located(f"if all endings are {ending_name!r} in {space.name}"):
                study = _make_study(make, seed=0, space=space, directions=directions)
                for _ in _ask_trials(study, space, trials=history, ending=ending):
                    pass


def check_determinism(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that the same seed and events lead to the same proposals, and another seed to other proposals.

    Raises:
        AssertionError: the sampler breaks this rule.
        ValueError: history is below 2.
    """
    if history < 2:
        raise ValueError(f"history is {history}; it must be at least 2")
    for space in SPACES:
        with _errors_located(f"in studies with the seeds 0, 0 and 1 in {space.name}"):
            studies = (_make_study(make, seed=seed, space=space, directions=directions) for seed in (0, 0, 1))
            first, second, other = (
                [dict(trial.params) for trial in _ask_trials(study, space, trials=history, ending=mixed)]
                for study in studies
            )
        differing = [number for number in range(history) if first[number] != second[number]]
        start = min(differing, default=history)
        _expect(
            not differing, f"the same seed and events led to other proposals in {space.name}, from trial {start} on"
        )
        _expect(first != other, f"seeds 0 and 1 led to the same {history} proposals in {space.name}")


def check_replay(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that a study rebuilt from its trials, running ones included, continues like the original.

    The rebuilt study has copies of the trials and of the attributes that samplers set on them and on the study, because
    a run's record keeps these. State inside the sampler is lost.
    """
    for space in SPACES:
        with _errors_located(f"in a rebuilt study in {space.name}"):
            study = _make_study(make, seed=0, space=space, directions=directions)
            for trial in _ask_trials(study, space, trials=history, ending=mixed):
                if trial.number % REPLAYED_EVERY == 0:
                    again = _ask_in_rebuilt_study(make, trial=trial, space=space, directions=directions)
                    differing = {name: (again[name], old) for name, old in trial.params.items() if again[name] != old}
                    _expect(
                        not differing,
                        f"a study rebuilt with {trial.number} trials continues differently (new and old: {differing}); "
                        "a sampler's state must follow from the study, its draws from the seed and the trial's number, "
                        "and nothing from the order in which trials ended, as study.best_trial does among equal ones",
                    )


def check_exhausted_space(make: Make, *, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that `study.ask` still works after all points were tried; a sampler must not end the search.

    Optuna refuses `study.stop()` outside of `study.optimize`, so a sampler that calls it fails here.
    """
    space = FOUR_POINTS
    for ending_name, ending in {"complete": complete, "mixed": mixed}.items():
        with _errors_located(f"50 asks in a space of {space.size} points (endings: {ending_name})"):
            study = _make_study(make, seed=0, space=space, directions=directions)
            for _ in _ask_trials(study, space, trials=50, ending=ending):
                pass


def check_global_random_state(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Check that the sampler neither draws from nor seeds Python's and NumPy's global generators."""
    space = NAS_BENCH_201
    before = random.getstate(), np.random.get_state(legacy=False)
    with _errors_located("in the check of global generators"):
        study = _make_study(make, seed=0, space=space, directions=directions)
        for _ in _ask_trials(study, space, trials=history, ending=mixed):
            pass
    _expect(random.getstate() == before[0], "the sampler uses or seeds Python's global random generator")
    _expect(
        repr(np.random.get_state(legacy=False)) == repr(before[1]),
        "the sampler uses or seeds NumPy's global random generator",
    )


def check_growth(
    make: Make, *, trials: int = 2000, slowdown: float = 20.0, directions: Sequence[str] = ("maximize",)
) -> None:
    """Check that late asks take at most `slowdown` times as long as early ones.

    Compares the medians of the last twentieth of all trials and of the twentieth that begins after a tenth of the
    trials, the warm-up. Between the two, a time that is linear in the number of trials grows by a factor of about 8, a
    quadratic one by about 60; the default is far from both. The bound is a ratio, so it does not depend on the machine.

    Ends as soon as the sampler copies more than `MAX_COPIED` trials at once, as `study.trials` does.

    Raises:
        AssertionError: late asks take longer, or the sampler copies too many trials.
        ValueError: trials is below 40.
    """
    if trials < 40:
        raise ValueError(f"trials is {trials}; it must be at least 40 to compare early asks with late ones")
    space = NAS_BENCH_201
    with _errors_located(f"in a study of {trials} trials"):
        study = _make_study(make, seed=0, space=space, directions=directions)
        distributions = _distributions(space)
        seconds = [_time_ask(study, distributions) for _ in range(trials)]
    early, late = seconds[trials // 10 : trials // 10 + trials // 20], seconds[-(trials // 20) :]
    ratio = statistics.median(late) / statistics.median(early)
    _expect(
        ratio <= slowdown,
        f"a late ask takes {ratio:.1f} times as long as an early one (medians of {len(late)} trials from "
        f"{trials // 10} and from {trials - len(late)} on); it must be at most slowdown = {slowdown:g}",
    )


def complete(study: Study, trial: Trial) -> None:
    """End the trial as trained to the end."""
    scores = _scores(study, trial)
    _report(study, trial, 0.5 * scores[0])
    study.tell(trial, scores)


def tied(study: Study, trial: Trial) -> None:
    """End the trial with the same score as every other trial, so that scores have no spread."""
    study.tell(trial, [0.1] * len(study.directions))


def failed(study: Study, trial: Trial) -> None:
    """End the trial with an error before the first report."""
    study.tell(trial, state=TrialState.FAIL)


def diverged(study: Study, trial: Trial) -> None:
    """End the trial as the driver does if the loss is NaN after the first epoch: as failed, with one report."""
    _report(study, trial, 0.1)
    study.tell(trial, state=TrialState.FAIL)


def pruned(study: Study, trial: Trial) -> None:
    """End the trial as stopped at the first rung, with one reported value."""
    _report(study, trial, 0.5 * _scores(study, trial)[0])
    study.tell(trial, state=TrialState.PRUNED)


def infeasible(study: Study, trial: Trial) -> None:
    """End the trial without training, because it breaks a constraint: no value is reported."""
    trial.set_constraint("parameters", 1.0)
    study.tell(trial, state=TrialState.PRUNED)


def duplicated(study: Study, trial: Trial) -> None:
    """End the trial as trained, then add it again as from a record, with a slightly different score."""
    scores = _scores(study, trial)
    params, distributions = dict(trial.params), dict(trial.distributions)
    study.tell(trial, scores)
    study.add_trial(create_trial(params=params, distributions=distributions, values=[0.99 * score for score in scores]))


def mixed(study: Study, trial: Trial) -> None:
    """Train every second trial to the end; the others take the other endings in turn."""
    others = [ending for ending in ENDINGS.values() if ending is not complete]
    half, odd = divmod(trial.number, 2)
    (others[half % len(others)] if odd else complete)(study, trial)


Ending = Callable[[Study, Trial], None]
"""Ends a trial of the study, with or without scores."""

ENDINGS: dict[str, Ending] = {
    "complete": complete,
    "tied": tied,
    "failed": failed,
    "diverged": diverged,
    "pruned": pruned,
    "infeasible": infeasible,
    "duplicated": duplicated,
}
"""The ways in which a trial of a search can end."""


@final
class _StorageWithoutCopies(InMemoryStorage):
    """Refuses to copy very many trials."""

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = super().get_all_trials(study_id, deepcopy=False, states=states)
        _expect(
            not deepcopy or len(found) <= MAX_COPIED,
            f"the sampler copies {len(found)} trials for a proposal, as study.trials and study.best_trials do; in a "
            "long search it would hold up the workers: use study.get_trials(deepcopy=False)",
        )
        return copy.deepcopy(found) if deepcopy else found


@final
class _CheckedSampler(BaseSampler):
    """Wraps a sampler and checks its proposals before Optuna receives them.

    Optuna itself would silently replace a relative proposal that is not in the distribution by an independent draw.
    """

    notes: StudyAttributes

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self.attributes: dict[str, Any] = {}  # the study's system attributes at the last ask

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params = self._sampler.sample_relative(study, trial, search_space)
        for name, value in params.items():
            _expect(name in search_space, f"sample_relative gave {name!r}, which is not in the relative search space")
            _expect_choice(name, value, search_space[name])
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        value = self._sampler.sample_independent(study, trial, param_name, param_distribution)
        _expect_choice(param_name, value, param_distribution)
        return value

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.attributes = self.notes.read()
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()


def _distributions(space: CellSpace) -> dict[str, BaseDistribution]:
    """Return a categorical distribution for each decision of the space, as the driver passes it to Optuna."""
    return {name: CategoricalDistribution(list(choices)) for name, choices in space.decisions()}


def _make_study(make: Make, *, seed: int, space: CellSpace, directions: Sequence[str]) -> Study:
    """Create a study with a new sampler."""
    takes_space = "space" in inspect.signature(make).parameters
    sampler = make(seed, space=space) if takes_space else make(seed)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise Optuna logs every new study to standard error
    try:
        known = [StudyDirection[direction.upper()] for direction in directions]
        storage, checked = _StorageWithoutCopies(), _CheckedSampler(sampler)
        study = optuna.create_study(storage=storage, sampler=checked, directions=known)
        checked.notes = StudyAttributes(study, storage)
        return study
    finally:
        optuna.logging.set_verbosity(verbosity)


def _ask_trials(study: Study, space: CellSpace, *, trials: int, ending: Ending, in_flight: int = 8) -> Iterator[Trial]:
    """Yield each trial right after its ask. Whenever `in_flight` trials are running, a random one of them ends."""
    order = random.Random(0)
    running: list[Trial] = []
    distributions = _distributions(space)
    for _ in range(trials):
        trial = study.ask(dict(distributions))
        _expect(set(trial.params) == set(distributions), f"trial {trial.number} has {sorted(trial.params)} only")
        yield trial
        running.append(trial)
        if len(running) == in_flight:
            ending(study, running.pop(order.randrange(in_flight)))
    order.shuffle(running)
    for trial in running:
        ending(study, trial)


def _ask_in_rebuilt_study(make: Make, *, trial: Trial, space: CellSpace, directions: Sequence[str]) -> dict[str, Any]:
    """Return the proposal of a new sampler in a study rebuilt to its state before the trial's ask."""
    rebuilt, checked = _make_study(make, seed=0, space=space, directions=directions), trial.study.sampler
    fresh = rebuilt.sampler
    assert isinstance(checked, _CheckedSampler)
    assert isinstance(fresh, _CheckedSampler)
    rebuilt.add_trials(trial.study.get_trials(deepcopy=False)[: trial.number])
    for name, value in checked.attributes.items():
        fresh.notes.write(name, value)
    return dict(rebuilt.ask(_distributions(space)).params)


def _time_ask(study: Study, distributions: Mapping[str, BaseDistribution]) -> float:
    """Return the seconds of one ask, and end the trial."""
    started = time.perf_counter()
    trial = study.ask(dict(distributions))
    seconds = time.perf_counter() - started
    mixed(study, trial)
    return seconds


def _scores(study: Study, trial: Trial) -> list[float]:
    """Return one score per objective: the score of objective k is the share of decisions for their k-th choice."""
    indices = [_choices(trial.distributions[name]).index(value) for name, value in trial.params.items()]
    return [indices.count(objective) / len(indices) for objective in range(len(study.directions))]


def _report(study: Study, trial: Trial, value: float) -> None:
    """Report one epoch's score, unless there are several objectives, for which Optuna refuses reports."""
    if len(study.directions) == 1:
        trial.report(value, step=1)


def _expect_choice(name: str, value: Any, distribution: BaseDistribution) -> None:
    choices = _choices(distribution)
    # Compares the type too: NumPy's integers and strings equal Python's, but cannot be written to the record.
    known = any(value == choice and type(value) is type(choice) for choice in choices)
    _expect(known, f"{name} is {value!r} ({type(value).__name__}); choices: {choices}")


def _choices(distribution: BaseDistribution) -> Sequence[Any]:
    assert isinstance(distribution, CategoricalDistribution), "all spaces of the checks are categorical"
    return distribution.choices


def _expect(condition: bool, message: str) -> None:
    """Raise AssertionError unless the condition holds; unlike an assert statement, also under `python -O`."""
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def _errors_located(where: str) -> Iterator[None]:
    """Turn any error of the sampler into an AssertionError that begins with `where`."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{where}: {kind}{error}") from error
