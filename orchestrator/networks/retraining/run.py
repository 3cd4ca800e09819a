"""Retrains networks: reads the images, runs one training after the other, tests each network, returns the results."""

from __future__ import annotations

import hashlib
import json
import platform
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster import SearchStopper, read_images, stopping_on_interrupt
from orchestrator.config import find_trainable
from orchestrator.errors import ConfigError, InputError, SearchError
from orchestrator.networks.retraining.initial_weights import Weights, check_weights, read_weights
from orchestrator.networks.retraining.networks import networks_of, places_of, recipe_of
from orchestrator.networks.retraining.progress_view import RetrainView
from orchestrator.networks.retraining.record import Asked, RetrainFolder, RetrainInfo
from orchestrator.networks.retraining.result import result_of
from orchestrator.networks.retraining.runner import Interrupted, NetworkTraining, Place, ThisProcess
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.progress import Progress, Refresh
from orchestrator.record import (
    NETWORK,
    RETRAIN_RESULT,
    RETRAINED,
    RecordedRun,
    Retrained,
    command_line,
    commit,
    now,
    versions,
)
from orchestrator.report import refresh
from trainables.baseline_spec import BaselineSpec
from trainables.datasets import DataSplits
from trainables.network_spec import NetworkSpec
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings
from trainables.storage import reason

SCRATCH = ".ray-train-"
"""Prefix of the folder for Ray Train's own files; no network has such a name. The files are never read again."""


@dataclass(frozen=True)
class RetrainResult:
    """The results of all requested networks."""

    networks: list[Retrained]
    is_whole: bool
    """Whether none was interrupted."""


def retrain(
    run_dir: Path | str, settings: RetrainSettings | None = None, *, progress: Progress | None = None
) -> RetrainResult:
    """Train the winner of a search or another network in full, and baselines with the same recipe.

    Trains on the search's training and validation images, in this process (on its GPU if there is one) or in several
    processes on a Ray cluster. Then tests each network once on the test images. An interrupted retraining of the same
    settings is resumed; a finished one is reported again without training.

    Args:
        run_dir: the run directory of the search, a path or a URI.
        settings: see `RetrainSettings`.
        progress: shows the progress.

    Raises:
        InputError: the settings do not fit, or the folder holds another retraining; nothing was changed.
        SearchError: the retraining failed; the record is complete up to the failure.
    """
    settings, progress = RetrainSettings.of(settings), Progress.of(progress)
    search = RecordedRun.of_ended_search(run_dir).with_data_at(places_of(settings))
    recipe = recipe_of(settings, search.config)
    networks = networks_of(search, settings, recipe)
    weights = read_weights(settings, networks)
    asked = {
        name: _asked(search, settings=settings, recipe=recipe, spec=spec, weights=weights.get(name))
        for name, spec in networks.items()
    }
    for name in networks:
        _folder(search, name).check_same(asked[name])
    costs = {name: _costs(spec) for name, spec in networks.items()}
    check_weights(weights, networks, search)
    is_whole = all(_folder(search, name).has_result(asked[name].seeds) for name in networks) or _trained(
        search,
        settings=settings,
        recipe=recipe,
        networks=networks,
        asked=asked,
        costs=costs,
        weights=weights,
        progress=progress,
    )
    results = []
    for name in networks:
        folder = _folder(search, name)
        results.append(
            result_of(
                name,
                location=folder.folder.location,
                costs=costs[name],
                asked=asked[name],
                state=folder.state(),
                score=search.info.score_name,
            )
        )
    refresh(search, progress)
    return RetrainResult(results, is_whole)


def _trained(
    search: RecordedRun,
    *,
    settings: RetrainSettings,
    recipe: TrainingSettings,
    networks: dict[str, NetworkSpec | BaselineSpec],
    asked: dict[str, Asked],
    costs: dict[str, tuple[int, int]],
    weights: dict[str, Weights],
    progress: Progress,
) -> bool:
    """Train and test one network after the other; False if the user asked to stop."""
    if (unused := unused_trainable(search)) is not None:
        progress.note(f"the training follows [training], not the search's trainable {unused}")
    progress.note(f"reading the data set {search.config.data.name}")
    splits = images_of(search)
    stopper = SearchStopper(None)
    with stopping_on_interrupt(stopper):
        _check_batches(settings, recipe, splits)
        view = RetrainView(
            list(networks),
            settings.seeds,
            recipe.epochs,
            held_out=settings.early_stopping is not None,
            is_stopped=lambda: stopper.interrupted,
        )
        with (
            _place(search, settings, stopper) as place,
            progress.display(view, ticking=True) as show,
        ):
            work = _Work(
                search=search,
                settings=settings,
                recipe=recipe,
                splits=splits,
                place=place,
                stopper=stopper,
                progress=progress,
                view=view,
                show=show,
            )
            try:
                for name, spec in networks.items():
                    work.network(name, spec=spec, asked=asked[name], costs=costs[name], weights=weights.get(name))
            except Interrupted:
                return False
    return True


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Trains networks with the same settings."""

    search: RecordedRun
    settings: RetrainSettings
    recipe: TrainingSettings
    splits: DataSplits
    place: Place
    stopper: SearchStopper
    progress: Progress
    view: RetrainView
    show: Refresh

    def network(
        self,
        name: str,
        *,
        spec: NetworkSpec | BaselineSpec,
        asked: Asked,
        costs: tuple[int, int],
        weights: Weights | None,
    ) -> None:
        """Train and test one network, and write its result."""
        from trainables.retraining import RetrainingPlan  # takes seconds: it imports torch

        plan = RetrainingPlan(
            spec=spec,
            training=self.recipe,
            patience=self.settings.early_stopping,
            average_decay=self.settings.ema,
            compiled=self.settings.compiled,
            start=None if weights is None else weights.start(freeze=self.settings.freeze),
            procedure=procedure_of(self.search),
        )
        images = plan.images(self.splits)
        folder = _folder(self.search, name)
        recorded = folder.info()
        threads = self.settings.threads or (recorded.threads if recorded else None)
        pace = self.place.use_threads(plan, images, threads)
        with folder.opened(_info(asked, images, None if pace is None else pace.threads)) as (log, state):
            self.progress.note(f"recording in {folder.folder}")
            self.view.turn_to(name, state)
            try:
                folder.folder.write(NETWORK, _json(spec.to_json()))
                training = NetworkTraining(
                    name=name,
                    plan=plan,
                    images=images,
                    seeds=asked.seeds,
                    fingerprint=hashlib.sha256(asked.model_dump_json().encode()).hexdigest()[:16],
                    folder=folder,
                    log=log,
                    state=state,
                    place=self.place,
                    progress=self.progress,
                    show=self.show,
                    is_stopped=lambda: self.stopper.interrupted,
                )
                if len(state.ended) < len(asked.seeds):
                    self.progress.note(training.in_words(pace))
                training.run(_tests_of(asked, self._others(name)))
                result = result_of(
                    name,
                    location=folder.folder.location,
                    costs=costs,
                    asked=asked,
                    state=state,
                    score=self.search.info.score_name,
                )
                folder.folder.write(RETRAIN_RESULT, _json(result.to_json()))
            except OSError as error:
                raise SearchError(f"{folder.folder} cannot be written: {reason(error)}") from error

    def _others(self, name: str) -> list[RetrainFolder]:
        """The folders of the other retrained networks in the run directory."""
        names = (self.search.directory.folder / RETRAINED).folders()
        return [_folder(self.search, other) for other in names if other != name]


def _check_batches(settings: RetrainSettings, recipe: TrainingSettings, splits: DataSplits) -> None:
    """Refuse a batch size that the workers cannot divide evenly."""
    from trainables.peers import Peers  # takes seconds: it imports torch

    images = len(splits.train) + (len(splits.validation) if settings.early_stopping is None else 0)
    try:
        Peers(0, settings.workers).check_batch(min(recipe.batch_size, images))
    except ValueError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def _place(search: RecordedRun, settings: RetrainSettings, stopper: SearchStopper) -> Iterator[Place]:
    """The place to train: this process, or workers on a cluster that is connected within this context.

    Raises:
        ClusterError: there is no such cluster, it is too small, or a node cannot read the run directory.
    """
    if not settings.on_ray:
        yield ThisProcess()
        return
    from orchestrator.cluster import (
        check_storage,
        connected,  # takes seconds: it imports Ray
    )
    from orchestrator.networks.retraining.ray_workers import RayWorkers

    with connected(settings.address):
        check_storage(search.directory.folder)
        scratch = search.directory.folder / RETRAINED / f"{SCRATCH}{uuid.uuid4().hex[:8]}"
        # Again, because starting Ray replaced the signal handlers.
        with stopping_on_interrupt(stopper):
            yield RayWorkers.planned(
                settings.workers,
                cpus=search.config.resources.cpus_per_trial,
                scratch=scratch,
                is_stopped=lambda: stopper.interrupted,
            )


def _tests_of(asked: Asked, others: Iterable[RetrainFolder]) -> int:
    """Number of other retrainings of the run that tested the same network."""
    count = 0
    for other in others:
        info = other.info()
        if info is not None and _is_same_network(info.asked, asked) and other.state().tested is not None:
            count += 1
    return count


def _is_same_network(one: Asked, other: Asked) -> bool:
    """Compare two networks without the parts that act only in training."""
    training_only = ("drop_path_probability", "dropout", "auxiliary_head")
    first, second = (
        {name: value for name, value in asked.network.items() if name not in training_only} for asked in (one, other)
    )
    for network in (first, second):
        if network.get("embedding"):
            network["embedding"] = {**network["embedding"], "dropout": 0.0}  # of words
    return first == second


def _asked(
    search: RecordedRun,
    *,
    settings: RetrainSettings,
    recipe: TrainingSettings,
    spec: NetworkSpec | BaselineSpec,
    weights: Weights | None,
) -> Asked:
    values = {
        "network": spec.to_json(),
        "training": recipe.model_dump(mode="json", exclude={"preset"}),  # its values are recorded instead
        "seeds": [search.info.seed + number for number in range(settings.seeds)],
        "early_stopping": settings.early_stopping,
        "ema": settings.ema,
        "images": search.info.data["sha256"],
        "weights": None if weights is None else weights.sha256,
        "freeze": settings.freeze,
        "procedure": _name_of(procedure_of(search)),
    }
    return Asked.model_validate(json.loads(json.dumps(values)))  # as it is read from the record


def _info(asked: Asked, images: DataSplits, threads: int | None) -> RetrainInfo:
    return RetrainInfo(
        asked=asked,
        started_at=now(),
        command=command_line(),
        host=platform.node(),
        versions=versions(),
        commit=commit(),
        data=images.describe(),
        threads=threads,
    )


def _costs(spec: NetworkSpec | BaselineSpec) -> tuple[int, int]:
    from trainables.retraining import count_costs  # takes seconds: it imports torch

    try:
        return count_costs(spec)
    except ValueError as error:
        raise InputError(str(error)) from error


def procedure_of(search: RecordedRun) -> type[TrainingProcedure]:
    """Return the training procedure of the search's trainable; the built-in one if the trainable has none.

    A trainable that was passed in Python cannot be named, so its retraining has the built-in procedure.

    Raises:
        ConfigError: the trainable cannot be found any more.
    """
    # With a name of ours, do not wait for Ray, which the built-in trainables import.
    if "trainable" in search.info.passed or ":" not in search.config.trainable.name:
        return TrainingProcedure
    found: type[TrainingProcedure] = getattr(find_trainable(search.config.trainable), "procedure", TrainingProcedure)
    return found


def unused_trainable(search: RecordedRun) -> str | None:
    """Return the search's trainable if it is the user's own and has no training procedure that a retraining can use.

    Raises:
        ConfigError: the trainable cannot be found any more.
    """
    if "trainable" not in search.info.passed:
        settings = search.config.trainable
        if ":" not in settings.name or hasattr(find_trainable(settings), "procedure"):
            return None
    return search.info.component("trainable")


def _name_of(procedure: type[TrainingProcedure]) -> str | None:
    return None if procedure is TrainingProcedure else f"{procedure.__module__}:{procedure.__qualname__}"


def images_of(search: RecordedRun) -> DataSplits:
    """Load the images of the search.

    Raises:
        ConfigError: they cannot be read, or are not the images that the search used.
    """
    try:
        splits = read_images(search.config.data, search.info.seed)
        search.check_images(splits.describe())
    except ConfigError as error:
        raise ConfigError(f"{error}; if the images are elsewhere now, add --set data.root=PATH") from error
    return splits


def _folder(search: RecordedRun, name: str) -> RetrainFolder:
    return RetrainFolder(search.directory.folder / RETRAINED / name)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
