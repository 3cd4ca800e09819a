"""What a retraining trains: its recipe and its networks. Reads the search's record; builds and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.config import MOVABLE, SearchConfig, change_config, head_of, make_task
from orchestrator.errors import ConfigError, InputError, RunDirectoryError
from orchestrator.networks.changes import with_changes
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.record import BEST, NETWORK, TRIAL_DIGITS, RecordedRun, RunDirectory, find_network, title_of, trial_of
from trainables.baseline_spec import Baselines, BaselineSpec
from trainables.network_spec import NetworkSpec, embedding_of
from trainables.presets import PRESETS
from trainables.settings import TrainingSettings, did_you_mean
from trainables.tasks.table import reading_of


def recipe_of(settings: RetrainSettings, config: SearchConfig) -> TrainingSettings:
    """The settings of the trainings: the preset's or else the search's, with the changes to `[training]`.

    Raises:
        ConfigError: a change is not of `[training]` or of the place of the images, or the result is not valid.
    """
    changes = [change for change in settings.all_changes if change not in places_of(settings)]
    for change in changes:
        if not change.startswith("training."):
            name = change.partition("=")[0].strip()
            hint = f"; did you mean 'training.{name}'?" if name in TrainingSettings.model_fields else ""
            raise ConfigError(
                f"--set {change!r}: a retraining can change [training] and {', '.join(MOVABLE)} only{hint}"
            )
        if change.partition("=")[0].strip() == "training.preset":
            raise ConfigError(
                f"--set {change!r}: use --preset; values recorded by the search override a preset that is set here"
            )
    # With the search's scheduler, scheduler.min_epochs would bound the epochs.
    values = {**config.model_dump(mode="json"), "scheduler": {"name": "fifo"}}
    if settings.preset is not None:
        if settings.preset not in PRESETS:
            known = f"known: {', '.join(sorted(PRESETS))}{did_you_mean(settings.preset, PRESETS)}"
            raise ConfigError(f"--preset is {settings.preset!r}; {known}")
        values["training"] = {"preset": settings.preset}
    return change_config(values, changes, {"training"}).training


def places_of(settings: RetrainSettings) -> list[str]:
    """The changes that say where the images are."""
    return [change for change in settings.all_changes if change.partition("=")[0].strip() in MOVABLE]


def networks_of(
    search: RecordedRun, settings: RetrainSettings, recipe: TrainingSettings
) -> dict[str, NetworkSpec | BaselineSpec]:
    """Describe the networks to train, by the names of their folders. Builds none of them.

    Raises:
        InputError: a network cannot be made of these values, or two have the same name.
    """
    *size, channels = search.info.data["image_shape"]
    classes = len(search.info.data["classes"])
    tokens = reading_of(search.info.data.get("reading")).tokens
    try:
        recipe.check_classes(classes)
        recipe.check_images(*size)
    except ValueError as error:
        raise ConfigError(f"{error} (--preset or --set)") from error
    if settings.architecture is None:
        check_has_winner(search)
    # The path of the file, because the run directory may have the name of a published cell.
    found = find_network(settings.architecture or (search.directory.best / NETWORK).location)
    network = with_changes(
        replace(found, auxiliary_head=False, embedding=None),
        None,
        repeats=settings.repeats,
        filters=settings.filters,
        classes=classes,
        image_channels=channels,
        image_size=tuple(size),
        embedding=embedding_of(tokens, search.config.network, recipe),
        drop_path_probability=recipe.drop_path_probability,
        dropout=recipe.dropout,
        auxiliary_head=recipe.auxiliary_weight > 0 and not settings.freeze,
        head=head_of(search.config),
    )
    networks: dict[str, NetworkSpec | BaselineSpec] = {
        settings.name or _name_of(search, settings.architecture): network
    }
    kind = make_task(search.config.data).baselines
    if settings.baselines and kind is None:
        raise InputError(
            f"--baseline {settings.baselines[0]}: baselines are for images, not {search.config.data.name} data"
        )
    for baseline in settings.baselines:
        height, width = size
        name = baseline if settings.name is None else f"{settings.name}-{baseline}"
        if name in networks:
            raise InputError(f"two networks are called {name!r}; choose another --name, or leave out a baseline")
        networks[name] = BaselineSpec(
            baseline=baseline, classes=classes, image_channels=channels, image_size=(height, width)
        )
    if kind is not None:
        _check_known(settings.baselines, kind)
    return networks


def check_has_winner(search: RecordedRun) -> None:
    """Refuse a search that has ended without a winner.

    Raises:
        RunDirectoryError: no trial has completed; the message says how the search continues.
    """
    if search.directory.best.has(NETWORK) or search.winner is not None:
        return
    how = search.info.continuation(search.standing, search.directory.location)
    raise RunDirectoryError(
        f"{search.directory} has no winner: no trial has completed ({search.standing.replace('_', ' ')})"
        f"{'' if how is None else f'; to go on: {how}'}"
    )


def winner_name(directory: RunDirectory) -> str:
    """The name of the winner, and of its folder once it is retrained: the id of its trial."""
    return directory.best_trial_id() or BEST


def _name_of(search: RecordedRun, architecture: str | None) -> str:
    if architecture is None:
        return winner_name(search.directory)
    of_a_trial = trial_of(architecture)
    if of_a_trial is not None and RunDirectory.at(of_a_trial[0]).folder == search.directory.folder:
        return of_a_trial[1].zfill(TRIAL_DIGITS)  # the winner's folder, if it is the winner
    return re.sub(r"[^\w.-]", "_", title_of(architecture)).lstrip(".-") or "network"


def _check_known(baselines: Sequence[str], kind: Baselines) -> None:
    if not baselines:
        return
    from trainables.baselines import baseline_names  # takes seconds: it imports torch

    known = baseline_names(kind)
    own = "two_convolutions or " if "two_convolutions" in known else ""
    for name in baselines:
        if name not in known:
            raise ConfigError(
                f"--baseline {name!r} is not {own}one of torchvision's {kind} models{did_you_mean(name, known)}"
            )
