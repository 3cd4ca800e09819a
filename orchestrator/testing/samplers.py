"""The contract of a sampler, as checks that run in plain Optuna: without Ray, without pytest, within a minute.

    from orchestrator.testing.samplers import check_sampler

    check_sampler(lambda seed: MySampler(seed=seed, population=20))

A search asks for many candidates before the first result is there, hears of them in any order, and hears of failures,
of pruned and of infeasible candidates, and of the same candidate twice. It can be stopped and rebuilt from its record.
`check_sampler` runs all checks; each can be called by itself. What breaks raises AssertionError.

Knows Optuna and spaces. Does not know any sampler.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from orchestrator.study import StudyAttributes
from search_spaces import NAS_BENCH_201, NASNET, CellSpace

Make = Callable[..., BaseSampler]
"""Seed -> a new sampler; given `space=` as well, a CellSpace, where it takes that, as in a search."""

IN_FLIGHT = 64
"""Trials that are asked for before anything is told."""

# Two of NASNet's five blocks: 20 decisions instead of 50 show the same, in less time.
SPACES = (replace(NASNET, name="nasnet_of_two_blocks", blocks=2), NAS_BENCH_201)
"""Of the checks: states, operations and combinations in two cells, and operations alone in one."""

FOUR_POINTS = CellSpace(
    name="four_points",
    source="made up",
    operations=("identity", "conv_3x3"),
    blocks=1,
    wiring="all_states",
    shared=True,
)
"""A space that is soon exhausted."""

REPLAYED_EVERY = 7
"""Every seventh proposal is made again in a rebuilt study; all of them would take quadratic time."""


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
        make: builds a new sampler from a seed, and from a `space` if it has such a parameter. Let its random beginning
            be shorter than `history`.
        history: trials in the study of a check; a slow sampler may use fewer.
        trials: trials in the study of the check of ask times; a slow sampler may use fewer.
        slowdown: how much longer a late ask may take than an early one (see `check_growth`).
        replays: whether a rebuilt study must go on as the old one would have. Samplers that keep random state, as
            Optuna's own, do not.
        directions: of the study, one for each objective.

    Raises:
        AssertionError: the sampler breaks the contract; the message says how.
        ValueError: history is below 2, or trials below 40.
    """
    check_trials_in_flight(make, directions=directions)
    check_endings(make, history=history, directions=directions)
    check_determinism(make, history=history, directions=directions)
    if replays:
        check_replay(make, history=history, directions=directions)
    check_exhausted_space(make, directions=directions)
    check_global_random_state(make, history=history, directions=directions)
    check_growth(make, trials=trials, slowdown=slowdown, directions=directions)


def check_trials_in_flight(make: Make, *, directions: Sequence[str] = ("maximize",)) -> None:
    """64 trials are asked for before anything is told; then results come in any order, between further asks."""
    for space in SPACES:
        with _told(f"with {IN_FLIGHT} trials in flight in {space.name}"):
            study = _study(make, 0, space, directions)
            for _ in _asks(study, space, IN_FLIGHT + 8, complete, in_flight=IN_FLIGHT):
                pass
            for _ in _asks(study, space, 8, complete):  # every result is there now
                pass


def check_endings(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Trials end in every way: mixed, and in each way alone, so that there may never be a single score."""
    for space in SPACES:
        for ending_name, ending in {**ENDINGS, "mixed": mixed}.items():
            with _told(f"where all endings are {ending_name!r} in {space.name}"):
                for _ in _asks(_study(make, 0, space, directions), space, history, ending):
                    pass


def check_determinism(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """The same seed and the same events make the same proposals; another seed makes others.

    Raises:
        AssertionError: they do not.
        ValueError: history is below 2.
    """
    if history < 2:
        raise ValueError(f"history is {history}; at least 2 is needed")
    for space in SPACES:
        with _told(f"asked twice with the same seed in {space.name}"):
            first, second, other = (
                [dict(trial.params) for trial in _asks(_study(make, seed, space, directions), space, history, mixed)]
                for seed in (0, 0, 1)
            )
        differ = [number for number in range(history) if first[number] != second[number]]
        since = min(differ, default=history)
        _expect(not differ, f"the same seed and events made other proposals in {space.name}, from trial {since} on")
        _expect(first != other, f"seeds 0 and 1 made the same {history} proposals in {space.name}")


def check_replay(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """A study that is rebuilt trial by trial, running ones included, goes on as the old one does.

    Trials are copied, and the attributes that samplers set on them and on the study, as the record of a run keeps them.
    What a sampler keeps in itself is lost.
    """
    for space in SPACES:
        with _told(f"in a rebuilt study in {space.name}"):
            for trial in _asks(_study(make, 0, space, directions), space, history, mixed):
                if trial.number % REPLAYED_EVERY == 0:
                    again = _asked_again(make, trial, space, directions)
                    differ = {name: (again[name], old) for name, old in trial.params.items() if again[name] != old}
                    _expect(
                        not differ,
                        f"a study rebuilt with {trial.number} trials goes on differently (new and old: {differ}); a "
                        "sampler's state must follow from the study, its draws from the seed and the trial's number",
                    )


def check_exhausted_space(make: Make, *, directions: Sequence[str] = ("maximize",)) -> None:
    """Asks are answered after every point of a space was tried: who ends the search is not the sampler.

    Optuna refuses `study.stop()` outside of `study.optimize`, so that a sampler that calls it fails here.
    """
    space = FOUR_POINTS
    for ending_name, ending in {"complete": complete, "mixed": mixed}.items():
        with _told(f"50 asks in a space of {space.size} points (endings: {ending_name})"):
            for _ in _asks(_study(make, 0, space, directions), space, 50, ending):
                pass


def check_global_random_state(make: Make, *, history: int = 100, directions: Sequence[str] = ("maximize",)) -> None:
    """Nothing is drawn from Python's and NumPy's global generators, and they are not seeded."""
    space = NAS_BENCH_201
    before = random.getstate(), np.random.get_state(legacy=False)
    with _told("beside global generators"):
        for _ in _asks(_study(make, 0, space, directions), space, history, mixed):
            pass
    _expect(random.getstate() == before[0], "the sampler uses or seeds Python's global random generator")
    _expect(
        repr(np.random.get_state(legacy=False)) == repr(before[1]),
        "the sampler uses or seeds NumPy's global random generator",
    )


def check_growth(
    make: Make, *, trials: int = 2000, slowdown: float = 20.0, directions: Sequence[str] = ("maximize",)
) -> None:
    """The median ask of the last twentieth of all trials takes at most `slowdown` times that of an early twentieth.

    The early one begins after a tenth of the trials, as a warm-up. Between the two, a time that is linear in the number
    of trials grows by a factor of about 8, a quadratic one by about 60; the bound is far from both. It is a ratio, so
    that the machine does not matter.

    Raises:
        AssertionError: late asks take longer.
        ValueError: trials is below 40.
    """
    if trials < 40:
        raise ValueError(f"trials is {trials}; at least 40 are needed to compare early asks with late ones")
    space = NAS_BENCH_201
    with _told(f"in a study of {trials} trials"):
        study = _study(make, 0, space, directions)
        distributions = _distributions(space)
        seconds = [_timed_ask(study, distributions) for _ in range(trials)]
    early, late = seconds[trials // 10 : trials // 10 + trials // 20], seconds[-(trials // 20) :]
    ratio = statistics.median(late) / statistics.median(early)
    _expect(
        ratio <= slowdown,
        f"a late ask takes {ratio:.1f} times as long as an early one (medians of {len(late)} trials from "
        f"{trials // 10} and from {trials - len(late)} on); slowdown = {slowdown:g} is allowed",
    )


def complete(study: Study, trial: Trial) -> None:
    """The trial was trained to the end."""
    scores = _scores(study, trial)
    _report(study, trial, 0.5 * scores[0])
    study.tell(trial, scores)


def tied(study: Study, trial: Trial) -> None:
    """As every other trial, so that scores have no spread."""
    study.tell(trial, [0.1] * len(study.directions))


def failed(study: Study, trial: Trial) -> None:
    """An error, before anything was reported."""
    study.tell(trial, state=TrialState.FAIL)


def diverged(study: Study, trial: Trial) -> None:
    """The loss was NaN after the first epoch, which the driver tells as a failure."""
    _report(study, trial, 0.1)
    study.tell(trial, state=TrialState.FAIL)


def pruned(study: Study, trial: Trial) -> None:
    """Stopped at the first rung, with one value."""
    _report(study, trial, 0.5 * _scores(study, trial)[0])
    study.tell(trial, state=TrialState.PRUNED)


def infeasible(study: Study, trial: Trial) -> None:
    """Never trained, because it breaks a constraint: no value at all."""
    trial.set_constraint("parameters", 1.0)
    study.tell(trial, state=TrialState.PRUNED)


def duplicated(study: Study, trial: Trial) -> None:
    """Trained, and once more told from the record, with a score that differs a little."""
    scores = _scores(study, trial)
    params, distributions = dict(trial.params), dict(trial.distributions)
    study.tell(trial, scores)
    study.add_trial(create_trial(params=params, distributions=distributions, values=[0.99 * score for score in scores]))


def mixed(study: Study, trial: Trial) -> None:
    """One ending after the other; every other trial is trained to the end."""
    others = [ending for ending in ENDINGS.values() if ending is not complete]
    half, odd = divmod(trial.number, 2)
    (others[half % len(others)] if odd else complete)(study, trial)


Ending = Callable[[Study, Trial], None]

ENDINGS: dict[str, Ending] = {
    "complete": complete,
    "tied": tied,
    "failed": failed,
    "diverged": diverged,
    "pruned": pruned,
    "infeasible": infeasible,
    "duplicated": duplicated,
}
"""The ways in which a search lets a trial end."""


@final
class _Watched(BaseSampler):
    """A sampler whose proposals are looked at before Optuna sees them.

    Optuna drops a relative proposal that is not in the distribution, and draws independently in its stead.
    """

    notes: StudyAttributes

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self.attributes: dict[str, Any] = {}  # of the study, when the last trial was asked for

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
    """As the driver hands the space to Optuna: a categorical for each decision."""
    return {name: CategoricalDistribution(list(choices)) for name, choices in space.decisions()}


def _study(make: Make, seed: int, space: CellSpace, directions: Sequence[str]) -> Study:
    """A new study with a new sampler."""
    takes_space = "space" in inspect.signature(make).parameters
    sampler = make(seed, space=space) if takes_space else make(seed)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce each of the studies on standard error
    try:
        known = [StudyDirection[direction.upper()] for direction in directions]
        storage, watched = InMemoryStorage(), _Watched(sampler)
        study = optuna.create_study(storage=storage, sampler=watched, directions=known)
        watched.notes = StudyAttributes(study, storage)
        return study
    finally:
        optuna.logging.set_verbosity(verbosity)


def _asks(study: Study, space: CellSpace, trials: int, ending: Ending, *, in_flight: int = 8) -> Iterator[Trial]:
    """Each trial just after it was asked for. When as many are in flight as may be, one of them ends, any one."""
    order = random.Random(0)
    flying: list[Trial] = []
    distributions = _distributions(space)
    for _ in range(trials):
        trial = study.ask(dict(distributions))
        _expect(set(trial.params) == set(distributions), f"trial {trial.number} has {sorted(trial.params)} only")
        yield trial
        flying.append(trial)
        if len(flying) == in_flight:
            ending(study, flying.pop(order.randrange(in_flight)))
    order.shuffle(flying)
    for trial in flying:
        ending(study, trial)


def _asked_again(make: Make, trial: Trial, space: CellSpace, directions: Sequence[str]) -> dict[str, Any]:
    """What a new sampler proposes in a study that is rebuilt as it was when the trial was asked for."""
    rebuilt, watched = _study(make, 0, space, directions), trial.study.sampler
    fresh = rebuilt.sampler
    assert isinstance(watched, _Watched)
    assert isinstance(fresh, _Watched)
    rebuilt.add_trials(trial.study.get_trials(deepcopy=False)[: trial.number])
    for name, value in watched.attributes.items():
        fresh.notes.write(name, value)
    return dict(rebuilt.ask(_distributions(space)).params)


def _timed_ask(study: Study, distributions: Mapping[str, BaseDistribution]) -> float:
    """Seconds that the ask takes; the trial then ends."""
    started = time.perf_counter()
    trial = study.ask(dict(distributions))
    seconds = time.perf_counter() - started
    mixed(study, trial)
    return seconds


def _scores(study: Study, trial: Trial) -> list[float]:
    """For the first objective the share of decisions for the first choice, for the second that for the second."""
    places = [_choices(trial.distributions[name]).index(value) for name, value in trial.params.items()]
    return [places.count(objective) / len(places) for objective in range(len(study.directions))]


def _report(study: Study, trial: Trial, value: float) -> None:
    """One epoch's score; Optuna takes none where there are several objectives."""
    if len(study.directions) == 1:
        trial.report(value, step=1)


def _expect_choice(name: str, value: Any, distribution: BaseDistribution) -> None:
    choices = _choices(distribution)
    # The type as well: NumPy's integers and strings equal Python's, but cannot be written to the record.
    known = any(value == choice and type(value) is type(choice) for choice in choices)
    _expect(known, f"{name} is {value!r} ({type(value).__name__}); choices: {choices}")


def _choices(distribution: BaseDistribution) -> Sequence[Any]:
    assert isinstance(distribution, CategoricalDistribution), "all of our spaces are categorical"
    return distribution.choices


def _expect(condition: bool, message: str) -> None:
    """As an assert statement, which `python -O` would leave out."""
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever the sampler raises, as an AssertionError that tells where."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{where}: {kind}{error}") from error
