"""Answers questions from the tables of searches, in DuckDB's SQL and in pandas: python examples/tables.py RUN_DIR ...

Several run directories, or a pattern such as 'runs/*', are read as one table, which also compares their
best trials.
Needs DuckDB and pandas: pip install duckdb pandas
"""

import argparse

import duckdb
import pandas as pd

OPERATIONS_OF_THE_BEST = """
    WITH best AS (
        SELECT * FROM trials WHERE status = 'completed' ORDER BY val_accuracy DESC LIMIT 10
    ), cells AS (
        SELECT 'normal' AS cell, architecture -> '$.normal.blocks' AS blocks FROM best
        UNION ALL SELECT 'reduction', architecture -> '$.reduction.blocks' FROM best
    ), places AS (  -- a block is [state, operation, ..., combination], with one to three edges
        SELECT cell, list_concat(blocks ->> '$[*][1]', blocks ->> '$[*][3]', blocks ->> '$[*][5]') AS found FROM cells
    ), used AS (
        SELECT cell, unnest(found) AS operation FROM places
    )
    SELECT cell, operation, count(*) AS times FROM used GROUP BY ALL ORDER BY cell, times DESC, operation
"""

SECONDS_BY_STATUS = """
    SELECT status, count(*) AS trials, round(sum(train_seconds), 1) AS seconds,
           round(100 * sum(train_seconds) / sum(sum(train_seconds)) OVER (), 1) AS percent
    FROM trials GROUP BY status ORDER BY seconds DESC
"""

RUNS_COMPARED = """
    SELECT run, count(*) AS trials, max(val_accuracy) FILTER (status = 'completed') AS best,
           arg_max(trial_id, val_accuracy) FILTER (status = 'completed') AS trial_id,
           round(sum(train_seconds) / 3600, 2) AS hours
    FROM trials GROUP BY run ORDER BY best DESC NULLS LAST, run
"""


def connect(runs: list[str]) -> duckdb.DuckDBPyConnection:
    """Create a database in memory with the views `trials` and `epochs`; a column `run` is added to both."""
    database = duckdb.connect()
    for name in ("trials", "epochs"):
        files = [f"{run}/{name}.parquet" for run in runs]
        table = database.read_parquet(files, union_by_name=True, filename=True)
        if name == "trials":  # without the new trainings of a confirmation
            table = table.filter("purpose = 'search'")
        table.project("* EXCLUDE filename, parse_path(filename)[-2] AS run").create_view(name)
    return database


def accuracy_by_epoch(trials: pd.DataFrame, epochs: pd.DataFrame, status: str) -> pd.DataFrame:
    """Return for each epoch how many trials of this status reached it, and their validation accuracy."""
    curves = epochs.merge(trials.loc[trials.status == status, ["run", "trial_id"]])
    return curves.groupby("epoch").val_accuracy.agg(["count", "mean", "min", "max"])


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the completed trials that beat all earlier ones of their run, with hours since the run's first start."""
    begun = trials.groupby("run").started_at.transform("min")
    ended = trials.assign(hours=(trials.ended_at - begun).dt.total_seconds() / 3600)
    ended = ended[ended.status == "completed"].sort_values(["run", "ended_at"])
    before = ended.groupby("run").val_accuracy.transform(lambda scores: scores.cummax().shift(fill_value=-1.0))
    return ended.loc[ended.val_accuracy > before, ["run", "hours", "trial_id", "val_accuracy"]]


def main() -> None:
    """Print the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help="or a pattern, in quotes")
    database = connect(parser.parse_args().runs)
    trials, epochs = database.table("trials").df(), database.table("epochs").df()
    answers = {
        "The operations of the ten best": database.sql(OPERATIONS_OF_THE_BEST).df(),
        "Accuracy by epoch of the pruned": accuracy_by_epoch(trials, epochs, "pruned").reset_index(),
        "Seconds by status": database.sql(SECONDS_BY_STATUS).df(),
        "Best so far": best_so_far(trials),
        "The runs": database.sql(RUNS_COMPARED).df(),
    }
    for question, answer in answers.items():
        print(f"{question}\n{answer.to_string(index=False)}\n")


if __name__ == "__main__":
    main()
