"""`cellscout retrain`: whole, killed and started again, by several workers, and with input that cannot be."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.commands import command, told

EPOCHS = 40
LONG = ["--set", f"training.epochs={EPOCHS}", "--baseline", "two_convolutions"]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def place(searched_digits: Path, tmp_path: Path) -> Path:
    """A folder with a search that has ended, called `run`."""
    shutil.copytree(searched_digits, tmp_path / "run")
    return tmp_path


def winner_of(place: Path) -> str:
    """The trial in `best/` of the search, by which its retraining is called."""
    return str(json.loads((place / "run" / "best" / "metrics.json").read_text())["trial_id"])


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == kind]


def curve(folder: Path) -> dict[tuple[int, int], tuple[float, float]]:
    """Loss and accuracy of each seed's epochs, of the last record of each."""
    rows = events(folder, "epoch_trained")
    return {(row["seed"], row["epoch"]): (row["train_loss"], row["train_accuracy"]) for row in rows}


@pytest.mark.slow
def test_digits_are_retrained_tested_once_and_told_again(place: Path, cellscout: Any) -> None:
    short = ["retrain", "run", "--set", "training.epochs=3", "--seeds", "2", "--baseline", "two_convolutions"]
    status, out, err = told(cellscout(*short, "--json"))
    assert status == 0, err
    found = json.loads(out)["networks"]
    assert [one["name"] for one in found] == [winner_of(place), "two_convolutions"]
    assert [one["test_number"] for one in found] == [1, 1]
    best = place / "run" / "retrain" / winner_of(place)
    before = (best / "events.jsonl").read_bytes()
    assert "reading the data set" in err
    assert re.search(r"\(N = \d, F = \d+\): 2 trainings, 6 epochs", err)
    assert re.search(r"two_convolutions: 2 trainings, 6 epochs, about \d+ s with \d threads? \.\.\.", err)
    status, out, err = told(cellscout(*short))
    assert (status, out.count("tested on")) == (0, 2)
    assert "reading the data set" not in err
    assert all(len(line) <= 80 for line in out.splitlines() if "tested on" not in line)
    assert (best / "events.jsonl").read_bytes() == before

    status, _, err = told(cellscout("retrain", "run", "--set", "training.epochs=4", "--seeds", "2"))
    assert (status, err.count("\n")) == (2, 1)
    assert "training.epochs was 3, and is 4; choose another --name" in err

    second = ["retrain", "run", "--set", "training.epochs=1", "--name", "again"]
    assert "the second test of this network" in told(cellscout(*second))[1]


@pytest.mark.slow
def test_a_network_that_is_trained_and_cannot_be_tested_is_tested_later(
    place: Path, cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    words = ["retrain", "run", "--architecture", "run/best/network.json", "--set", "training.epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr("trainables.retraining.score_on_test", full)
        status, _, err = told(cellscout(*words))
    assert status == 1
    assert "network is trained, but cannot be tested: CUDA out of memory; the same command tests it" in err
    before = (place / "run" / "retrain" / "network" / "events.jsonl").read_bytes()
    status, out, _ = told(cellscout(*words))
    assert (status, out.count("tested on")) == (0, 1)
    after = (place / "run" / "retrain" / "network" / "events.jsonl").read_bytes()
    assert after.startswith(before)
    assert b"epoch_trained" not in after[len(before) :]


@pytest.mark.slow
def test_a_published_cell_is_trained_at_another_size_with_early_stopping_and_an_average(
    place: Path, cellscout: Any
) -> None:
    words = ["--architecture", "nasnet_a", "--repeats", "1", "--filters", "2", "--set", "training.epochs=3"]
    status, out, err = told(cellscout("retrain", "run", *words, "--early-stopping", "1", "--ema", "0.9", "--json"))
    assert status == 0, err
    (found,) = json.loads(out)["networks"]
    assert found["name"] == "nasnet_a"
    network = json.loads((place / "run" / "retrain" / "nasnet_a" / "network.json").read_text())
    assert (network["repeats"], network["filters"], len(network["architecture"]["normal"]["blocks"])) == (1, 2, 5)
    assert all(row["val_accuracy"] is not None for row in events(place / "run/retrain/nasnet_a", "epoch_trained"))


@pytest.fixture(scope="module")
def undisturbed(searched_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a retraining with `LONG` leaves that nobody ends."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(searched_digits, folder / "run")
    process = command(folder, "retrain", "run", *LONG)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return folder / "run" / "retrain"


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_a_retraining_that_ends_early_and_is_started_again_comes_to_the_same(
    place: Path, undisturbed: Path, cellscout: Any, signal_number: signal.Signals
) -> None:
    folder = place / "run" / "retrain"
    process, begun = command(place, "retrain", "run", *LONG), time.monotonic()
    log = folder / winner_of(place) / "events.jsonl"
    while not log.exists() or log.read_bytes().count(b"epoch_trained") < 10:
        assert process.poll() is None
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    process.send_signal(signal_number)
    out, _ = process.communicate()
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert "so far; the same command goes on" in out
    assert len(curve(folder / winner_of(place))) < EPOCHS
    status, _, err = told(cellscout("retrain", "run", *LONG))
    assert status == 0
    # Ctrl-C leaves a checkpoint of the last epoch; a kill one of at most some seconds before, perhaps none.
    assert signal_number == signal.SIGKILL or "going on after epoch" in err
    for name in (winner_of(place), "two_convolutions"):
        assert curve(folder / name) == curve(undisturbed / name)
        assert len(events(folder / name, "network_tested")) == 1
        weights, others = (load_file(root / name / "weights.safetensors") for root in (folder, undisturbed))
        assert all((weights[key] == others[key]).all() for key in others)


@pytest.mark.slow
def test_two_workers_come_to_what_one_does(place: Path, cellscout: Any) -> None:
    """The two convolutions have no batch norms, which would see a worker's part of a batch only."""
    words = ["--architecture", "nasnet_a", "--repeats", "1", "--filters", "2", "--baseline", "two_convolutions"]
    same = ["--set", "training.epochs=3", "--set", "training.crop_padding=1", *words]
    assert told(cellscout("retrain", "run", *same))[0] == 0
    folder = place / "run" / "retrain"
    folder.rename(place / "alone")
    process = command(place, "retrain", "run", *same, "--workers", "2")  # the shared Ray has one CPU
    _, err = process.communicate()
    assert process.returncode == 0, err
    found, alone = (curve(root / "two_convolutions") for root in (folder, place / "alone"))
    assert found == {key: pytest.approx(value, rel=1e-4) for key, value in alone.items()}
    assert found != alone  # they did work in two parts, whose sums are rounded differently
    for name in ("nasnet_a", "two_convolutions"):
        assert [row["workers"] for row in events(folder / name, "training_begun")] == [2]
        files, others = ({path.name for path in (root / name).iterdir()} for root in (folder, place / "alone"))
        assert files == others
    assert {path.name for path in folder.iterdir()} == {"nasnet_a", "two_convolutions"}

    words = ["--name", "x", "--workers", "99", "--set", "training.batch_size=99"]
    status, _, err = told(cellscout("retrain", "run", *words))
    assert (status, err.splitlines()[-1].startswith("cellscout: --workers is 99; the cluster has room for")) == (
        2,
        True,
    )
    words = ["--name", "y", "--workers", "2", "--set", "training.batch_size=33"]
    status, _, err = told(cellscout("retrain", "run", *words))
    assert (status, "a batch of 33 images cannot be divided evenly among 2 processes" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere holds no run"),
        (["run", "--baseline", "resnet81"], "did you mean 'resnet1"),
        (["run", "--architecture", "nasnet_b"], "'nasnet_b' is not a published cell"),
        (["run", "--preset", "nasnet"], "cellscout: --preset is 'nasnet'; known: amoebanet-"),
        (["run", "--set", "epochs=3"], "did you mean 'training.epochs'?"),
        (["run", "--seeds", "0"], "--seeds is 0"),
        (["run", "--workers", "0"], "--workers is 0"),
        (["run", "--ema", "1"], "--ema is 1.0"),
        (["run", "--early-stopping", "0"], "--early-stopping is 0"),
        (["run", "--name", "../best"], "--name is '../best'"),
        (["run", "--set", "budget.trials=3"], "a retraining can change [training]"),
        (["run", "--set", "training.cutout=9"], "training.cutout is 9"),
        (["run", "--set", "training.preset=darts"], "use --preset"),
        (["run", "--repeats", "0"], "repeats"),
        (["run", "--filters", "3", "--baseline", "vit_b_16,two_convolutions,vit_b_16"], "two networks are called"),
        (["run", "--address", "127.0.0.1:1"], "no Ray cluster at '127.0.0.1:1'"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_input_that_cannot_be_gets_one_line_and_leaves_nothing(
    place: Path, cellscout: Any, words: list[str], message: str
) -> None:
    status, out, err = told(cellscout("retrain", *words))
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not (place / "run" / "retrain").exists()


def test_an_unfinished_run_is_refused(place: Path, cellscout: Any) -> None:
    info = json.loads((place / "run" / "run.json").read_text())
    (place / "run" / "run.json").write_text(json.dumps({**info, "state": "interrupted"}))
    status, _, err = told(cellscout("retrain", "run"))
    assert (status, err) == (2, "cellscout: run is unfinished (interrupted); end it with: cellscout resume run\n")


@pytest.mark.slow
def test_a_log_that_is_spoilt_is_refused_and_a_torn_line_is_not(place: Path, cellscout: Any) -> None:
    short = ["retrain", "run", "--set", "training.epochs=2"]
    assert told(cellscout(*short))[0] == 0
    log = place / "run" / "retrain" / winner_of(place) / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # the power failed while the test was being recorded
    status, out, _ = told(cellscout(*short, "--json"))
    assert (status, json.loads(out)["networks"][0]["test_number"]) == (0, 1)
    log.write_bytes(b'{"event": "nothing"}\n' + b"".join(lines))
    status, _, err = told(cellscout(*short))
    assert (status, "line 1 is not an event: Input tag 'nothing'" in err) == (2, True)
