from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.config.loading import DEFAULT_SEARCH, load_config, parse_config
from orchestrator.config.plugins import resolve
from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError
from search_spaces import NASNET, SPACES
from trainables.presets import PRESETS
from trainables.settings import TrainingSettings


def problem(*overrides: str, path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_default_search_is_the_digits() -> None:
    config = load_config(None)
    assert config.data.name == "digits"
    assert (config.network.repeats, config.network.filters) == (1, 8)
    assert config.training.crop_padding == config.training.cutout == 0
    assert not config.training.flip


def test_a_folder_is_searched_like_the_digits(tmp_path: Path) -> None:
    config, default = load_config(tmp_path, ["budget.trials=3"]), load_config(None)
    assert (config.data.name, config.data.root, config.budget.trials) == ("image_folder", str(tmp_path), 3)
    assert config.network == default.network
    assert config.training == default.training.model_copy(update={"batch_size": 16})
    (tmp_path / "run.json").touch()
    assert problem(path=tmp_path) == (
        f"{tmp_path} is a run directory; `cellscout resume {tmp_path}` continues its search"
    )


def test_the_default_search_lies_in_the_package() -> None:
    assert "[data]" in DEFAULT_SEARCH.read_text()


def test_overrides_are_toml_values_and_plain_words() -> None:
    config = load_config(
        None,
        [
            "budget.trials=7",
            "training.flip=true",
            'run.name="a"',
            "data.root=some/where",
            "resources.gpus_per_trial=0.25",
            "sampler.options.multivariate=true",
        ],
    )
    assert config.budget.trials == 7
    assert config.training.flip is True
    assert (config.run.name, config.data.root) == ("a", "some/where")
    assert config.resources.gpus_per_trial == 0.25
    assert config.sampler.options == {"multivariate": True}


def test_a_configuration_survives_json() -> None:
    config = load_config(None, ["resources.gpus_per_trial=auto", "budget.hours=1.5"])
    assert SearchConfig.model_validate_json(config.model_dump_json()) == config


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config(None).run.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ("epochs=3", "unknown key 'epochs'; did you mean 'training.epochs'?"),
        ("budget.epochs=3", "unknown key 'budget.epochs'; did you mean 'training.epochs'?"),
        ("trainin.epochs=3", "unknown key 'trainin'; did you mean 'training'?"),
        ("training.lr=0.1", "unknown key 'training.lr'; did you mean 'training.learning_rate'?"),
        ("budget.xyz=1", "unknown key 'budget.xyz'; known: hours, trials"),
        ("training.epochs=0", "training.epochs is 0; it must be at least 1"),
        ("training.epochs=-3", "training.epochs is -3; it must be at least 1"),
        ("training.epochs=2.5", "training.epochs is 2.5; it must be a valid integer"),
        ("training.epochs=many", "training.epochs is 'many'; it must be a valid integer"),
        ("training.epochs=true", "training.epochs is True; it must be a valid integer"),
        ("training.batch_size=0", "training.batch_size is 0; it must be at least 2"),
        ("training.learning_rate=0", "training.learning_rate is 0; it must be above 0"),
        ("training.learning_rate=nan", "training.learning_rate is nan; it must be"),
        ("training.learning_rate=inf", "training.learning_rate is inf; it must be a finite number"),
        ("training.momentum=1.0", "training.momentum is 1.0; it must be below 1"),
        ("training.weight_decay=-1", "training.weight_decay is -1; it must be at least 0"),
        ("training.gradient_clip=-1", "training.gradient_clip is -1; it must be at least 0"),
        ("training.schedule=step", "training.schedule is 'step'; it must be 'cosine' or 'constant'"),
        ("network.repeats=0", "network.repeats is 0; it must be at least 1"),
        ("network.filters=-8", "network.filters is -8; it must be at least 2"),
        ("data.validation_fraction=0", "data.validation_fraction is 0; it must be above 0"),
        ("data.validation_fraction=1", "data.validation_fraction is 1; it must be below 1"),
        ("data.image_size=0", "data.image_size is 0; it must be at least 4"),
        ("data.image_size=[8, 2]", "data.image_size is 2; it must be at least 4"),
        ("data.image_size=[8]", "data.image_size is [8]; it must have at least 2 items"),
        ("data.limit=-1", "data.limit is -1; it must be at least 2"),
        ("budget.trials=0", "budget.trials is 0; it must be at least 1"),
        ("budget.hours=0", "budget.hours is 0; it must be above 0"),
        ("budget.hours=30m", "budget.hours is '30m'; it must be a number of hours, such as 0.5 for 30 minutes"),
        ("faults.hang_seconds=5m", "faults.hang_seconds is '5m'; it must be a number of seconds, such as 1800 for 30"),
        ("resources.cpus_per_trial=0", "resources.cpus_per_trial is 0; it must be at least 1"),
        ("resources.gpus_per_trial=-1", "resources.gpus_per_trial is -1; it must be at least 0"),
        ("resources.gpus_per_trial=1.5", "resources: gpus_per_trial is 1.5; above 1 it must be a whole number"),
        ("scheduler.min_epochs=0", "scheduler.min_epochs is 0; it must be at least 1"),
        ("scheduler.min_epochs=17", "scheduler.min_epochs is 17; it must be at most training.epochs = 8"),
        ("scheduler.reduction_factor=1", "scheduler.reduction_factor is 1; it must be at least 2"),
        ("run.seed=-1", "run.seed is -1; it must be at least 0"),
        ("run.storage=s3://key:hunter2@bucket/runs", "run.storage: a s3:// URI with a secret in it would be shown and"),
        (
            "run.storage=abfs://c@a/runs?client_secret=x",
            "run.storage: a abfs:// URI with a secret in it would be shown",
        ),
        ("logging.mlflow=https://hunter2@host", "logging.mlflow: mlflow holds a password or token"),
        ("logging.mlflow=postgresql://user:hunter2@host/runs", "logging.mlflow: mlflow holds a password or token"),
        ("logging.mlflow=postgresql://host/runs?password=hunter2", "logging.mlflow: mlflow holds a password or token"),
        ('warm_start.runs=["s3://key:hunter2@bucket/runs/a"]', "warm_start.runs: a s3:// URI with a secret in it"),
        ("data.options={a=1}", "data: options are for a 'module:function' data set; 'digits' takes no options"),
        ("run.name=../up", "run.name is '../up'; it may hold letters, digits"),
        ("run.name=.hidden", "run.name is '.hidden'; it may hold letters, digits"),
        ("space.blocks=0", "space.blocks is 0; it must be at least 1"),
        (
            "space.name=nasnt",
            "space.name is 'nasnt'; known: amoebanet, darts, enas, nas_bench_201, nasnet, pnasnet, or 'module:NAME'; "
            "did you mean 'nasnet'?",
        ),
        (
            "network.skeleton=darts",
            "network.skeleton is 'darts'; known: amoebanet_cifar, amoebanet_imagenet, darts_cifar",
        ),
        (
            "training.preset=dart",
            "training: preset is 'dart'; known: amoebanet-search, darts, enas, nas-bench-201, nasnet",
        ),
        ("training.preset=dart", "did you mean 'darts'?"),
        ("training.learning_rate_end=1.0", "learning_rate_end is 1.0; it must be at most learning_rate = "),
        ("training.restart_epochs=-1", "training.restart_epochs is -1; it must be at least 0"),
        (
            "sampler.name=tpo",
            "sampler.name is 'tpo'; known: controller, evolution, gp, local_search, nsgaii, "
            "nsgaiii, predictor, random,",
        ),
        (
            "scheduler.name=asho",
            "scheduler.name is 'asho'; known: asha, asha_promotion, cut, fifo, hyperband, median, pasha, or "
            "'module:NAME'; did you mean 'asha'?",
        ),
        ("data.name=cifar", "data.name is 'cifar'; known: cifar10, cifar100, digits, fashion_mnist, image_folder,"),
        ("trainable.name=cel", "trainable.name is 'cel'; known: cell, instant, or 'module:NAME'; did you mean 'cell'?"),
        ("objectives.minimize=size", "objectives.minimize is 'size'; it must be a list, such as [\"size\"]"),
        ("run=3", "run is 3; it is a section, with keys of its own"),
        ("epochs", "--set 'epochs' is not of the form section.key=value"),
        ("=3", "--set '=3' is not of the form section.key=value"),
        ("run.name.first=3", "--set 'run.name.first=3': 'name' is not a section"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(override: str, message: str) -> None:
    assert message in problem(override)


def test_the_value_of_a_flag_must_be_a_flag() -> None:
    assert "training.flip is 'yes'; it must be a valid boolean" in problem("training.flip=yes")


def test_trials_and_hours_cannot_both_be_unset() -> None:
    with pytest.raises(ConfigError, match="trials and hours are both unset"):
        parse_config({"budget": {"trials": None}}, "here")


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    needed = "(a search file, or a folder of pictures, is needed)"
    assert problem(path=path) == f"{path} cannot be read: No such file or directory {needed}"
    path.write_text("[run\n")
    assert problem(path=path).startswith(f"{path} is not valid TOML: ")
    path.write_bytes(b"\xff\xfe")
    assert problem(path=path) == f"{path} is no text {needed}"
    path.write_text("[training]\nepochs = 0\n")
    assert problem(path=path).startswith(f"{path}: training.epochs is 0")
    assert problem("budget.hours=1", path=path).startswith(f"{path}: training.epochs is 0")
    path.write_text("")
    assert problem("training.epochs=0", path=path).startswith("--set: training.epochs is 0")


def test_a_text_is_read_as_a_search_file(tmp_path: Path) -> None:
    text = "[budget]\ntrials = 5\n"
    (tmp_path / "search.toml").write_text(text)
    config = load_config(text, ["run.seed=3"])
    assert config == load_config(str(tmp_path / "search.toml"), ["run.seed=3"])
    assert (config.budget.trials, config.run.seed) == (5, 3)
    assert load_config("") == load_config("run.seed = 0") == SearchConfig()
    with pytest.raises(ConfigError, match="^the TOML text: unknown key 'budgt'; did you mean 'budget'"):
        load_config("budgt.trials = 3")
    with pytest.raises(ConfigError, match="^no-such.toml cannot be read: No such file or directory"):
        load_config("no-such.toml")


def test_a_configuration_is_changed_like_a_file() -> None:
    changes = ["budget.trials=5", "training.epochs=3"]
    assert load_config(load_config(), changes) == load_config(None, changes)
    with pytest.raises(ConfigError, match="^--set: budget.trials is 0"):
        load_config(load_config(), ["budget.trials=0"])


def test_what_no_search_can_be_loaded_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="source is of the type dict; it must be a path, a text, or the settings of"):
        load_config({"budget": {"trials": 3}})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"changes is 'budget.trials=3'; it must be a list, such as \['budget.trials"):
        load_config(changes="budget.trials=3")


def test_several_problems_are_counted() -> None:
    assert problem("training.epochs=0", "training.batch_size=0").endswith("(and 1 more error)")


def test_python_and_files_say_the_same() -> None:
    toml = tomllib.loads('[network]\nrepeats = 3\n[sampler]\nname = "random"')
    config = parse_config(toml, "here")
    assert config == SearchConfig.model_validate({"network": {"repeats": 3}, "sampler": {"name": "random"}})


def test_a_preset_decides_what_is_not_set() -> None:
    training = load_config(None, ["training.preset=darts", "training.epochs=50"]).training
    assert (training.preset, training.epochs, training.batch_size) == ("darts", 50, 64)  # 64: the default search
    alone = parse_config({"training": {"preset": "darts", "epochs": 50}}, "here").training
    assert (alone.epochs, alone.batch_size, alone.weight_decay, alone.nesterov) == (50, 96, 3e-4, False)
    assert alone.label_smoothing == TrainingSettings().label_smoothing


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_training_that_a_record_can_hold(name: str) -> None:
    training = TrainingSettings(preset=name)
    for field, value in PRESETS[name].settings.items():
        assert getattr(training, field) == value
    assert TrainingSettings.model_validate(training.model_dump(mode="json")) == training


def test_presets_hold_the_papers_values() -> None:
    """Zoph et al. 2018 and TF-slim, melodyguan/enas, quark0/darts."""
    nasnet, enas, darts = (PRESETS[name].settings for name in ("nasnet-cifar", "enas", "darts"))
    assert {row["auxiliary_weight"] for row in (nasnet, enas, darts)} == {0.4}
    assert {row["cutout"] for row in (nasnet, enas, darts)} == {16}
    assert [row["epochs"] for row in (nasnet, enas, darts)] == [600, 630, 600]
    assert [row["batch_size"] for row in (nasnet, enas, darts)] == [32, 144, 96]
    assert [row["weight_decay"] for row in (nasnet, enas, darts)] == [5e-4, 4e-4, 3e-4]
    assert [row["drop_path_probability"] for row in (nasnet, enas, darts)] == [0.4, 0.4, 0.2]
    assert [PRESETS[f"{name}-search"].settings["epochs"] for name in ("nasnet", "amoebanet", "pnas")] == [20, 25, 20]


def examples() -> list[Path]:
    return sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.name)
def test_every_example_is_a_valid_search_file(path: Path) -> None:
    load_config(path)


def test_plugins_are_resolved_and_their_faults_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a_space_of_mine.py").write_text("from search_spaces import NASNET as MINE")
    found: Any = resolve("space.name", "a_space_of_mine:MINE", SPACES)
    assert found is NASNET
    with pytest.raises(ConfigError, match="module 'a_space_of_mine' .*a_space_of_mine.py. has no 'YOURS'"):
        resolve("space.name", "a_space_of_mine:YOURS", SPACES)
    with pytest.raises(ConfigError, match="module 'no_such_module' cannot be imported"):
        resolve("space.name", "no_such_module:X", SPACES)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("this is no Python", "raised SyntaxError: "),
        (
            "from search_spaces import NASNET\nfrom dataclasses import replace\nX = replace(NASNET, blocks=0)",
            "blocks = 0",
        ),
        ("import sys; sys.exit(3)", "raised SystemExit: 3"),
        ("import not_there_at_all", "cannot be imported: No module named 'not_there_at_all'"),
    ],
)
def test_a_module_that_fails_is_told_in_one_line(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"failing_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(ConfigError, match=f"space.name is '{name}:X', but module '{name}' ") as caught:
        resolve("space.name", f"{name}:X", SPACES)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_missing_is_told_where_it_was_looked_for() -> None:
    with pytest.raises(ConfigError, match="looked for among packages and in .*"):
        resolve("space.name", "no_such_module:X", SPACES)
    for name in (":x", "json:", ".json:x", "json:a b"):
        with pytest.raises(ConfigError, match="known: amoebanet, .* or 'module:NAME'"):
            resolve("space.name", name, SPACES)


def test_a_plugin_that_is_named_as_in_an_import_is_understood() -> None:
    with pytest.raises(ConfigError, match=r"or 'module:NAME'; did you mean 'mine.samplers:Greedy'\?$"):
        resolve("sampler.name", "mine.samplers.Greedy", {})


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ("runs", "runs/mine-20261121-120000"),
        ("/mnt/runs/", "/mnt/runs/mine-20261121-120000"),
        ("s3://bucket/runs", "s3://bucket/runs/mine-20261121-120000"),
        ("s3://bucket/runs/?scheme=http", "s3://bucket/runs/mine-20261121-120000?scheme=http"),
    ],
)
def test_a_new_run_directory_is_named_by_the_run_and_its_start(storage: str, expected: str) -> None:
    run = load_config(None, ["run.name=mine", f"run.storage={storage}"]).run
    assert run.new_directory(datetime(2026, 11, 21, 12, tzinfo=UTC)) == expected


def test_a_new_run_directory_is_never_one_that_exists(tmp_path: Path) -> None:
    run = load_config(None, ["run.name=mine", f"run.storage={tmp_path}"]).run
    for expected in ("mine-20261121-120000", "mine-20261121-120000-2", "mine-20261121-120000-3"):
        found = Path(run.new_directory(datetime(2026, 11, 21, 12, tzinfo=UTC)))
        assert found == tmp_path / expected
        found.mkdir()


def test_another_preset_or_sampler_begins_its_section_anew() -> None:
    """Settings of an earlier run have every key, of which a preset would change none."""
    earlier = load_config(None, ["training.epochs=3", "sampler.name=tpe", "sampler.options.multivariate=true"])
    changed = load_config(earlier, ["training.preset=darts", "training.cutout=0", "sampler.name=random"])
    assert changed.training == load_config("training.preset = 'darts'\ntraining.cutout = 0").training
    assert (changed.sampler.name, changed.sampler.options) == ("random", {})
    assert load_config(earlier, ["sampler.options.n_startup_trials=5"]).sampler.options["multivariate"] is True
