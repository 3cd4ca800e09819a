"""The options of the commands that follow a search are described and bounded once: by the fields of their settings."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer.main

from orchestrator.cli.app import app
from orchestrator.config import OptionSettings, bounds_of, description_of, option_help, option_name
from orchestrator.errors import ConfigError
from orchestrator.evaluation import EvaluationSettings
from orchestrator.networks import ExportSettings, RetrainSettings
from orchestrator.simulation import SimulateSettings

COMMANDS: dict[str, type[OptionSettings]] = {
    "evaluate": EvaluationSettings,
    "retrain": RetrainSettings,
    "export": ExportSettings,
    "simulate": SimulateSettings,
}


def parameters_of(command: str) -> dict[str, Any]:
    found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    return {parameter.name: parameter for parameter in found}


def words_of(text: str) -> str:
    """A help page without frames, options' types and line breaks."""
    return " ".join(word for word in text.replace("│", " ").split() if not word.startswith("<"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_setting_has_an_option_with_its_name_and_default(command: str) -> None:
    parameters = parameters_of(command)
    for name, field in COMMANDS[command].model_fields.items():
        assert option_name(name, field) in parameters[name].opts
        default, found = field.get_default(), parameters[name].default
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        if isinstance(found, list | tuple):
            found = ",".join(found)
        assert found in (default, default or None)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_words_and_bounds_of_the_settings(command: str, cellscout: Any) -> None:
    described = [option_help(field) for field in COMMANDS[command].model_fields.values()]
    assert all(parameters_of(command)[name].help is None for name in COMMANDS[command].model_fields)
    shown = words_of(cellscout(command, "--help").out)
    # Types and default values stand between the lines of a text, so single words are looked for.
    for text in described:
        missing = [word for word in text.replace("`", "").split() if word not in shown.split()]
        assert missing == [], text


def test_an_options_bounds_follow_its_description() -> None:
    field = EvaluationSettings.model_fields["folds"]
    assert (description_of(field), bounds_of(field)) == ("Number of folds of the cross-validation.", "at least 2")
    assert option_help(field) == "Number of folds of the cross-validation. At least 2."


def test_every_option_of_every_command_is_described() -> None:
    for command, found in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        fields = COMMANDS[command].model_fields if command in COMMANDS else {}
        for parameter in found.params:
            assert parameter.help or parameter.name in fields, (command, parameter.name)
            assert "[" not in (parameter.help or ""), "Rich reads text in brackets as a colour and leaves it out"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_options_help_imports_neither_ray_nor_torch(command: str) -> None:
    code = f"import sys; sys.argv = ['cellscout', '{command}', '--help']\nimport orchestrator.cli.app as cli\n"
    code += "try: cli.main()\nexcept SystemExit: print([m for m in ('ray', 'torch', 'optuna') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (EvaluationSettings, {"top": 1}, "--top is 1; it must be at least 2: one candidate cannot be compared"),
        (EvaluationSettings, {"seeds": True}, "--seeds is True; it must be a valid integer"),
        (EvaluationSettings, {"fold": 3}, "EvaluationSettings has no setting 'fold'; did you mean 'folds'?"),
        (RetrainSettings, {"early_stopping": 0}, "--early-stopping is 0; it must be at least 1"),
        (RetrainSettings, {"ema": 1.0}, "--ema is 1.0; it must be below 1"),
        (RetrainSettings, {"ema": float("nan")}, "--ema is nan; it must be below 1"),
        (RetrainSettings, {"repeats": 65}, "--repeats is 65; it must be at most 64"),
        (RetrainSettings, {"changes": "a.b=1"}, "--set is 'a.b=1'; it must be a list, such as [\"a.b=1\"]"),
        (RetrainSettings, {"changes": [1]}, "--set is 1; it must be a valid string"),
        (RetrainSettings, {"name": "../best"}, "--name is '../best'; it may hold letters, digits, '.', '_' and '-'"),
        (RetrainSettings, {"freeze": True}, "--freeze needs --weights"),
        (SimulateSettings, {"workers": [4, 0]}, "--workers is 0; it must be at least 1"),
        (SimulateSettings, {"schedulers": []}, "--scheduler names nothing"),
        (ExportSettings, {"fine_tune": -1}, "--fine-tune is -1; it must be at least 0"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_option(
    settings: type[OptionSettings], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(**values)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 2


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["search", "--hours", "2"], " (Possible options: --set budget.hours=VALUE)"),
        (["resume", "run", "--budget", "2"], " (Possible options: --set budget.KEY=VALUE)"),
        (["search", "--trial", "2"], " (Possible options: --trials)"),
        (["search", "--workers", "2"], " (Possible options: --set resources.cpus_per_trial=VALUE)"),
        (["retrain", "run", "--lr", "0.05"], " (Possible options: --set training.learning_rate=VALUE)"),
        (["search", "--output", "here"], " (Possible options: --run-dir)"),
        (["evaluate", "run", "--out", "here"], " (Possible options: --evaluation-dir)"),
        (["evaluate", "run", "--trials", "3"], " (Possible options: --top)"),
        (["resume", "run", "--time", "2"], " (Possible options: --set budget.hours=VALUE)"),
        (["resume", "run", "--epochs", "9"], ""),  # a resume cannot change [training]
        (["status", "run", "--output", "here"], ""),
        (["retrain", "run", "--trial", "4"], ""),  # not --threads, nor a setting that a retraining cannot change
    ],
)
def test_an_unknown_option_gets_a_hint_that_resembles_it(arguments: list[str], hint: str, cellscout: Any) -> None:
    ended = cellscout(*arguments)
    assert ended.status == 2
    option = next(one for one in arguments if one.startswith("--"))
    said = " ".join(ended.err.replace("│", " ").split())
    assert f"No such option: {option}{hint} " in said
    assert ("Possible" in said) == bool(hint)
