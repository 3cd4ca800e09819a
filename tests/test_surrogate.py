"""The surrogate: what it predicts of a known function, its noise, its bounds, and the measure of its quality."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from orchestrator.errors import InputError
from orchestrator.simulation.answers import Curve
from orchestrator.simulation.prediction_quality import quality_of, quality_of_retraining
from orchestrator.simulation.recorded_curves import RecordedCurves, reported_row
from orchestrator.simulation.surrogate import Surrogate
from search_spaces import NAS_BENCH_201, NASNET

TABLES = Path(__file__).parent.parent / "benchmarks" / "curves"
CHOICES = dict(NAS_BENCH_201.decisions())
EPOCHS = 6
NOISE = 0.004


def drawn(seed: int, count: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [{name: some[int(generator.integers(len(some)))] for name, some in CHOICES.items()} for _ in range(count)]


def true_curve(params: dict[str, Any]) -> NDArray[np.float64]:
    """Convolutions are good, and large ones are slow at first."""
    operations = list(params.values())
    large, small = operations.count("conv_3x3"), operations.count("conv_1x1")
    reached = 1 - np.exp(-np.arange(1, EPOCHS + 1) / (1 + large / 2))
    return (0.5 + 0.06 * large + 0.03 * small) * reached


def true_seconds(params: dict[str, Any]) -> float:
    return 1.0 + list(params.values()).count("conv_3x3")


def recorded(count: int, repeated: int = 0) -> RecordedCurves:
    """Curves of random architectures; the noise of a training is the same at all its epochs."""
    generator = np.random.default_rng(0)
    several = drawn(0, count)
    curves, repeats = [], {}
    for place, params in enumerate(several):
        scores = true_curve(params) + NOISE * generator.normal(size=(3, 1))
        fields = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "images_per_second": 9.0}
        fields |= {"seconds": true_seconds(params), "learning_rate": 0.1}
        curves.append(
            Curve(
                [
                    reported_row({"epoch": epoch, "val_accuracy": score, **fields})
                    for epoch, score in enumerate(scores[0], 1)
                ],
                scores[0, -1],
            )
        )
        if place < repeated:
            repeats[place] = scores[1:]
    codes = [[CHOICES[name].index(value) for name, value in params.items()] for params in several]
    return RecordedCurves(NAS_BENCH_201, np.array(codes), curves, repeats)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate(recorded(100, repeated=20))


def scores_of(surrogate: Surrogate, params: dict[str, Any], seed: int) -> list[float]:
    return [row.metrics["val_accuracy"] for row in surrogate.answers(seed)(params)]


def test_what_depends_on_the_architecture_is_predicted_for_others(surrogate: Surrogate) -> None:
    others = drawn(1, 60)
    truth = np.array([true_curve(params) for params in others])
    found = quality_of(surrogate.mean_curves(others), truth)
    assert (found.r2 > 0.8).all()
    assert (found.tau > 0.7).all()
    assert (surrogate.quality.r2 > 0.8).all()  # and cross-validation says so
    seconds = [surrogate.answers(0)(params)[0].seconds for params in others]
    assert seconds == pytest.approx([true_seconds(params) for params in others], rel=0.3)
    assert surrogate.best == pytest.approx(max(true_curve(params)[-1] for params in drawn(0, 100)), abs=0.02)


def test_cross_validation_finds_nothing_where_there_is_nothing() -> None:
    known = recorded(60)
    generator = np.random.default_rng(0)
    shuffled = [known.curves[place] for place in generator.permutation(60)]
    assert Surrogate(RecordedCurves(known.space, known.codes, shuffled)).quality.r2.max() < 0.2


def test_one_architecture_has_one_answer_in_a_simulation_and_another_in_the_next(surrogate: Surrogate) -> None:
    params = dict.fromkeys(CHOICES, "none")
    name = next(iter(CHOICES))
    answer = surrogate.answers(3)
    rows = answer(params).rows
    assert answer({**params, "more": {}}).rows == rows == surrogate.answers(3)(params).rows
    assert pickle.loads(pickle.dumps(surrogate)).answers(3)(params).rows == rows  # in another process
    assert answer(params).final == surrogate.mean_curves([params])[0, -1]
    assert [row.epoch for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[0].metrics.keys() == recorded(1).curves[0][0].metrics.keys()
    assert scores_of(surrogate, params, 4) != scores_of(surrogate, params, 3)
    assert scores_of(surrogate, {**params, name: "identity"}, 3) != scores_of(surrogate, params, 3)


def test_noise_is_that_of_repeated_trainings(surrogate: Surrogate) -> None:
    """Its size, and that it is the same at all epochs."""
    several = drawn(2, 100)
    deviations = np.array([scores_of(surrogate, params, 0) for params in several]) - surrogate.mean_curves(several)
    assert deviations.std(0) == pytest.approx(np.full(EPOCHS, NOISE), rel=0.5)
    assert np.corrcoef(deviations[:, 0], deviations[:, -1])[0, 1] > 0.9
    assert abs(deviations.mean()) < NOISE / 2


def test_without_repeated_trainings_noise_has_the_errors_of_the_models_too(surrogate: Surrogate) -> None:
    several = drawn(2, 100)
    upper = Surrogate(recorded(100))
    deviations = [
        np.array([scores_of(one, params, 0) for params in several]) - one.mean_curves(several)
        for one in (upper, surrogate)
    ]
    assert deviations[0].std() > deviations[1].std()


def test_noiseless_scores_stay_in_the_recorded_range(surrogate: Surrogate) -> None:
    known = surrogate.recorded_scores
    for name in ("none", "conv_3x3"):
        (curve,) = surrogate.mean_curves([dict.fromkeys(CHOICES, name)])
        assert (curve >= known.min(0) - 1e-9).all()
        assert (curve <= known.max(0) + 1e-9).all()


def test_too_few_candidates_are_refused() -> None:
    known = recorded(50)
    known.curves[7] = Curve(known.curves[7][:-1], 0.5)
    with pytest.raises(InputError, match="has 49 candidates that were trained for 6 epochs; .* at least 50"):
        Surrogate(known)


def test_repeated_trainings_are_read_if_they_are_whole(tmp_path: Path) -> None:
    for name in ("trials.parquet", "epochs.parquet"):
        (tmp_path / name).symlink_to(TABLES / name)
    rows = [("00002", seed, epoch, epoch / 100) for seed, end in ((5, 27), (6, 26)) for epoch in range(end, 0, -1)]
    columns = dict(zip(("trial_id", "seed", "epoch", "val_accuracy"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "repeats.parquet")
    (found,) = RecordedCurves.of_table(tmp_path / "trials.parquet", NASNET).repeats.items()
    assert found[0] == 2
    assert found[1].tolist() == [[epoch / 100 for epoch in range(1, 28)]]


def test_scores_in_per_cent_are_refused() -> None:
    known = RecordedCurves.of_table(TABLES / "trials.parquet", NASNET)
    with pytest.raises(InputError, match="a candidate has the score 72.5; simulate needs scores of 0 to 1"):
        replace(known, curves=[*known.curves[1:], Curve(known.curves[0].rows, 72.5)])


def test_quality_counts_variance_and_pairs() -> None:
    truth = np.array([[0.1], [0.2], [0.3], [0.4]])
    found = quality_of(np.array([[0.1], [0.2], [0.4], [0.3]]), truth)
    assert found.tau == pytest.approx([4 / 6])
    assert found.r2 == pytest.approx([1 - 0.02 / 0.05])
    flat = quality_of(np.full((4, 1), 0.25), truth)
    assert (flat.r2[0], flat.tau[0]) == (0, 0)


def test_noise_limits_what_any_model_can_reach() -> None:
    known = np.array([[0.1], [0.2], [0.3]])
    same = quality_of_retraining([np.array([score, score]) for score in known], known)
    assert (same.r2[0], same.tau[0]) == (1, 1)
    twice = quality_of_retraining([np.array([score, 0.4 - score]) for score in known], known)
    assert twice.tau[0] == pytest.approx(-1)
    assert twice.r2[0] == pytest.approx(1 - (0.02 + 0 + 0.02) / 3 / 0.01)


def test_a_search_is_answered_by_the_surrogate(cellscout: Any) -> None:
    """It is simulated, and what is printed says how good the answers are."""
    options = [
        "--answers",
        "surrogate",
        "--sampler",
        "random",
        "--scheduler",
        "fifo",
        "--seeds",
        "1",
        "--trainings",
        "3",
    ]
    ended = cellscout("simulate", str(TABLES / "trials.parquet"), *options)
    assert ended.status == 0, ended.err
    text = " ".join(ended.out.split())
    assert "a model of the recorded curves predicts, with noise: the errors of the model" in text
    assert "final scores are predicted with R2 0.04 and Kendall's tau 0.17" in text
    assert max(map(len, ended.out.splitlines())) <= 80


def test_a_table_of_few_candidates_has_no_surrogate(cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "epochs.parquet").symlink_to(TABLES / "epochs.parquet")
    pq.write_table(pq.read_table(TABLES / "trials.parquet").slice(0, 20), tmp_path / "trials.parquet")
    for answers, message in (("surrogate", "a surrogate needs at least 50"), ("surogate", "did you mean 'surrogate'")):
        ended = cellscout("simulate", str(tmp_path / "trials.parquet"), "--answers", answers)
        assert (ended.status, ended.err.count("\n")) == (2, 1)
        assert message in ended.err
