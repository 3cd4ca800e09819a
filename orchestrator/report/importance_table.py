"""Presents which decisions of a search mattered: in words, as tables of 80 columns, and as JSON."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from orchestrator.report.importance import MIN_TRIALS, Effect, Importance, Importances, OperationUse
from orchestrator.words import counted

MAX_DECISIONS = 8


def importance_tables(found: Importances | None) -> Group:
    """Return the tables to print; empty for an evaluation."""
    if found is None:
        return Group()
    if not found.trials:
        return Group("mattered    no trial has a score yet")
    if not found.objectives:
        few = f"{counted(found.trials, 'trial')} with a score, too few to show which decisions mattered"
        return Group(f"mattered    {few}; {MIN_TRIALS} are needed")
    tables = [table for one in found.objectives for table in (_decisions(one, found), _operations(one, found))]
    return Group(
        *tables,
        "share: the part of the differences between candidates suggested at about the same time, each two compared "
        "after the last epoch that both reached, that a decision explains on its own (interactions do not count), "
        "minus what chance gives; for several decisions the sum, an estimate that may exceed 100%. by chance: the "
        "share that chance exceeds in one of 20 searches. "
        "noise: if nothing mattered, more than one of 20 searches would have a row like this.",
    )


def importance_json(found: Importances | None) -> dict[str, Any] | None:
    """Return all effects as JSON; `objectives` is null if there are too few trials."""
    if found is None:
        return None
    return {
        "trials": found.trials,
        "epoch": found.epoch,
        "epochs": found.epochs,
        "trials_needed": MIN_TRIALS,
        "objectives": [_objective_json(one) for one in found.objectives] or None,
    }


def _when(found: Importances) -> str:
    if found.epochs is not None and found.epoch >= found.epochs:
        return "after the whole training"
    whole = "" if found.epochs is None else f" of {found.epochs}"
    return f"after epoch {found.epoch}{whole}"


def _decisions(one: Importance, found: Importances) -> Table:
    """Tabulate the groups, and the decisions whose effect is more than noise."""
    title = f"What mattered for {escape(one.objective)}: {found.trials} trials"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("decisions", min_width=44)
    for name in ("share", "by chance", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for effect in one.groups:
        table.add_row(f"all of: {effect.name}", *_cells(effect))
    table.add_section()
    significant = [effect for effect in one.decisions if not effect.is_noise]
    for effect in significant[:MAX_DECISIONS]:
        table.add_row(escape(effect.name), *_cells(effect))
    if not significant:
        table.add_row("no single decision is more than noise")
    elif len(significant) > MAX_DECISIONS:
        table.add_row(f"and {len(significant) - MAX_DECISIONS} more (--json has all)")
    return table


def _cells(effect: Effect) -> tuple[str, str, str]:
    return ("noise" if effect.is_noise else f"{effect.share:.0%}", f"{effect.by_chance:.0%}", _p(effect.p))


def _operations(one: Importance, found: Importances) -> Table:
    """Tabulate the operations by the mean after the latest epoch that all trials reached."""
    title = f"Mean {escape(one.objective)} {_when(found)}, of the trials that use an operation"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for name in ("operation", "trials", "mean", "95 %", "others", "p", ""):
        table.add_column(name, justify="left" if name in ("operation", "") else "right", no_wrap=name != "operation")
    for use in one.operations:
        table.add_row(
            escape(use.name),
            str(use.trials),
            _score(use.mean),
            "" if use.margin is None else f"± {_score(use.margin)}",
            _score(use.others),
            "" if use.p is None else _p(use.p),
            _operation_note(use),
        )
    return table


def _operation_note(use: OperationUse) -> str:
    if use.p is None:
        return "used by all" if use.trials else "never used"
    return "noise" if use.is_noise else ""


def _score(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def _p(value: float) -> str:
    return f"{value:.3f}"


def _objective_json(one: Importance) -> dict[str, Any]:
    return {
        "objective": one.objective,
        "groups": [{"group": effect.name, **_effect_json(effect)} for effect in one.groups],
        "decisions": [{"decision": effect.name, **_effect_json(effect)} for effect in one.decisions],
        "operations": [
            {
                "operation": use.name,
                "trials": use.trials,
                "mean": use.mean,
                "margin": use.margin,
                "mean_of_others": use.others,
                "p": use.p,
                "is_noise": use.is_noise,
            }
            for use in one.operations
        ],
    }


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {"share": effect.share, "by_chance": effect.by_chance, "p": effect.p, "is_noise": effect.is_noise}
