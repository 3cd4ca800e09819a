"""Exported files, compared with PyTorch, and `cellscout export`."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load, save

from orchestrator.errors import ConfigError
from orchestrator.networks.export.run import export_network
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.record.exports import Exports
from search_spaces import SPACES, CellSpace
from tests.object_store import ObjectStore
from tests.own_operations import EXAMPLE, EXAMPLES, spec_with
from tests.trained import RECIPE, digits_config, digits_spec, make_run, put_retrained, random_weights, small_spec
from trainables.baseline_spec import BaselineSpec
from trainables.build_network import build_network
from trainables.datasets import load_data
from trainables.exporting.formats import FORMATS
from trainables.exporting.model_file import METADATA, ModelFacts, ModelFile, ModelFileError
from trainables.exporting.program import load_network, make_runner
from trainables.exporting.pruning import prune_weights
from trainables.network_spec import NetworkSpec
from trainables.preprocessing import Preprocessing
from trainables.settings import TrainingSettings
from trainables.skeleton import SKELETONS
from trainables.storage import Folder

needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="needs cellscout[mobile]")
quiet = pytest.mark.filterwarnings("ignore:::torch|torchao|executorch|onnx|onnxruntime|onnxscript")


def facts_of(spec: NetworkSpec | BaselineSpec, *, int8: bool = False) -> ModelFacts:
    channels = spec.image_channels
    preprocessing = Preprocessing(
        image_size=spec.image_size,
        channels=channels,
        mean=(100.0,) * channels,
        deviation=(50.0,) * channels,
        classes=tuple(f"class {index}" for index in range(spec.classes)),
    )
    return ModelFacts(name="best", preprocessing=preprocessing, int8=int8)


def images_for(spec: NetworkSpec | BaselineSpec, count: int) -> NDArray[np.float32]:
    shape = (count, spec.image_channels, *spec.image_size)
    return np.random.default_rng(count).standard_normal(shape).astype(np.float32)


def baseline(name: str, channels: int = 1, size: tuple[int, int] = (12, 12)) -> BaselineSpec:
    return BaselineSpec(baseline=name, classes=10, image_channels=channels, image_size=size)


def check(spec: NetworkSpec | BaselineSpec, name: str, bound: float = 1e-4) -> ModelFile:
    """Check that a file gives PyTorch's logits, for one and for many images, and its facts."""
    network = load_network(spec, random_weights(spec))
    facts = facts_of(spec)
    opened = FORMATS[name].reader().read(FORMATS[name].writer(int8=False).write(network, facts, None))
    assert opened.facts == facts
    for count in (1, 2, 7, 64, 70):
        images = images_for(spec, count)
        wanted = make_runner(network)(images)
        found = opened.run(images)
        assert found.shape == (count, spec.classes)
        assert float(np.abs(found - wanted).max()) < bound
        assert float(np.abs(wanted).max()) > 100 * bound  # otherwise the bound would be too weak
    return opened


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        *(digits_spec(cell) for cell in ("nasnet_a", "amoebanet_a", "pnasnet_5", "darts_v2")),
        replace(digits_spec(), image_channels=3, image_size=(13, 10), classes=3),
        baseline("two_convolutions"),
        baseline("resnet18", channels=3, size=(32, 32)),
    ],
    ids=lambda spec: getattr(spec, "baseline", "") or f"{spec.skeleton.stem}-{spec.image_size}",
)
def test_an_onnx_file_gives_the_logits_of_pytorch(spec: NetworkSpec | BaselineSpec) -> None:
    check(spec, "onnx")


@pytest.mark.slow
@pytest.mark.parametrize("spec", [digits_spec(), baseline("two_convolutions")], ids=["nasnet_a", "two_convolutions"])
def test_a_torch_export_file_gives_the_logits_of_pytorch(spec: NetworkSpec | BaselineSpec) -> None:
    check(spec, "torch-export", bound=1e-6)


@pytest.mark.slow
@needs_executorch
@quiet
@pytest.mark.parametrize("spec", [digits_spec("darts_v2"), baseline("two_convolutions")], ids=["darts", "baseline"])
def test_an_executorch_file_gives_the_logits_of_pytorch(spec: NetworkSpec | BaselineSpec) -> None:
    check(spec, "executorch")


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_any_architecture_of_a_space_can_be_exported(space: CellSpace) -> None:
    architecture = space.sample(np.random.default_rng(2))
    spec = replace(digits_spec(), architecture=architecture, skeleton=SKELETONS[space.skeleton])
    check(spec, "torch-export", bound=1e-6)


@pytest.mark.slow
def test_a_network_with_none_is_exported_as_onnx() -> None:
    """The operation `none` makes its output from the number of images alone."""
    space = SPACES["nas_bench_201"]
    samples = (space.sample(np.random.default_rng(seed)) for seed in range(100))
    architecture = next(sample for sample in samples if "none" in json.dumps(sample.to_json()))
    check(replace(digits_spec(), architecture=architecture, skeleton=SKELETONS[space.skeleton]), "onnx")


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("name", ["onnx", "torch-export", pytest.param("executorch", marks=needs_executorch)])
def test_operations_of_the_users_own_are_exported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    check(spec_with(*EXAMPLE), name)


def test_the_auxiliary_head_is_left_out() -> None:
    spec = replace(digits_spec(), image_size=(20, 20), auxiliary_head=True)
    weights = random_weights(spec)
    assert any(name.startswith("auxiliary.") for name in load(weights))
    network = load_network(spec, weights)
    assert network.auxiliary is None
    whole = build_network(spec).eval()
    whole.load_state_dict(load(weights))
    images = images_for(spec, 3)
    np.testing.assert_array_equal(make_runner(network)(images), make_runner(whole.requires_grad_(False))(images))


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="the weights are those of another network"):
        load_network(digits_spec(), random_weights(baseline("two_convolutions")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a trained network, of more than 70% accuracy."""
    import torch

    from trainables.loader import DeviceData
    from trainables.training import Training

    spec, config = small_spec(), digits_config(limit=600)
    splits = load_data(config.data, config.run.seed)
    recipe = TrainingSettings(epochs=5, batch_size=32)
    training = Training(spec, recipe, DeviceData(splits, torch.device("cpu")), seed=0)
    for _ in range(recipe.epochs):
        result = training.train_epoch()
    assert result.val_accuracy > 0.7
    weights = save({name: value.contiguous() for name, value in training.network.state_dict().items()})
    return make_run(tmp_path_factory.mktemp("trained") / "run", spec, weights, config=config)


def entries(folder: Path) -> dict[str, Any]:
    return {file["file"]: file for file in json.loads((folder / "exports.json").read_text())["files"]}


@pytest.mark.slow
@quiet
def test_a_network_is_exported_as_onnx_in_float_and_in_8_bits(trained: Path) -> None:
    folder = trained / "best" / "export"
    plain = export_network(str(trained), ExportSettings(format="onnx")).file
    assert plain.largest_difference < 1e-4
    assert plain.scores.accuracy == plain.pytorch.accuracy == plain.accuracy_before > 0.7
    assert set(plain.scores.latency_seconds) == set(plain.pytorch.latency_seconds) == {1, 32}
    assert all(seconds > 0 for seconds in plain.scores.latency_seconds.values())
    assert plain.size == (folder / "model.onnx").stat().st_size

    quantised = export_network(str(trained), ExportSettings(format="onnx", int8=True)).file
    assert quantised.largest_difference > 1e-3  # as 8 bits must differ
    assert quantised.scores.accuracy > plain.scores.accuracy - 0.1
    assert {tensor.itemsize * 8 for tensor in tensors(folder / "model.int8.onnx") if tensor.ndim == 4} == {8}

    assert entries(folder).keys() == {"model.onnx", "model.int8.onnx"}
    again = export_network(str(trained / "best"), ExportSettings(format="onnx")).file
    assert entries(folder)["model.onnx"]["exported_at"] == again.model_dump(mode="json")["exported_at"]
    assert {path.name for path in folder.iterdir()} == {"exports.json", "model.onnx", "model.int8.onnx"}


def tensors(path: Path) -> list[NDArray[Any]]:
    """The weights in an ONNX file."""
    import onnx

    return [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "torch-export"])
def test_a_file_does_not_contain_paths_of_this_machine(name: str) -> None:
    spec = baseline("two_convolutions")
    content = FORMATS[name].writer(int8=False).write(load_network(spec, random_weights(spec)), facts_of(spec), None)
    assert b"baselines.py" not in content
    assert str(Path(__file__).parents[1]).encode() not in content


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("name", ["torch-export", pytest.param("executorch", marks=needs_executorch)])
def test_the_other_formats_are_exported_in_8_bits(name: str, trained: Path) -> None:
    file = export_network(str(trained), ExportSettings(format=name, int8=True)).file
    assert file.largest_difference > 1e-3
    assert file.scores.accuracy > file.pytorch.accuracy - 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fraction"), [("weights", 0.5), ("channels", 0.25)])
def test_pruned_weights_stay_zero_during_fine_tuning(kind: Any, fraction: float, trained: Path) -> None:
    spec, config = small_spec(), digits_config(limit=600)
    before = (trained / "best" / "weights.safetensors").read_bytes()
    result = prune_weights(
        spec,
        before,
        kind=kind,
        fraction=fraction,
        epochs=2,
        recipe=TrainingSettings.model_validate(RECIPE),
        images=load_data(config.data, config.run.seed),
        seed=0,
    )
    after, old = load(result.weights), load(before)
    assert after.keys() == old.keys()
    convolutions = [name for name, value in after.items() if value.ndim == 4]
    for name in convolutions:
        zero = after[name].flatten(1).abs().amax(dim=1) == 0 if kind == "channels" else after[name] == 0
        assert int(zero.sum()) == round(fraction * zero.numel())
        rest = after[name][~zero]
        assert not bool((rest == old[name][~zero]).all())  # it was trained
        if kind == "channels":
            norms = old[name].flatten(1).norm(dim=1)
            assert norms[zero].max() <= norms[~zero].min()
    classifier = next(name for name, value in after.items() if value.ndim == 2)
    assert bool((after[classifier] == 0).any()) == (kind == "weights")
    assert 0.9 * fraction < result.zeros <= fraction + 0.01


@pytest.mark.slow
@quiet
def test_a_loss_of_accuracy_is_reported(trained: Path, cellscout: Any) -> None:
    shown = cellscout("export", str(trained), "--prune", "weights:0.97", "--fine-tune", "0")
    assert shown.status == 0
    file = entries(trained / "best" / "export")["model.pruned.onnx"]
    assert file["largest_difference"] < 1e-4  # from the pruned network in PyTorch
    assert file["pruning"]["zeros"] == pytest.approx(0.97, abs=0.02)
    lost = file["accuracy_before"] - file["scores"]["accuracy"]
    assert lost > 0.01
    assert f"lost        {lost:.4f} of accuracy" in shown.out
    assert max(map(len, shown.out.splitlines()[:8])) <= 80
    assert "model.pruned.onnx" in shown.out


@pytest.mark.slow
def test_the_export_of_a_network_that_saw_the_validation_images_says_so(tmp_path: Path, cellscout: Any) -> None:
    run = make_run(tmp_path / "run")
    put_retrained(run, "mine")
    shown = cellscout("export", "run/retrain/mine")
    assert "on which the network was trained, so that this says little" in " ".join(shown.out.split())
    found = json.loads(cellscout("export", "run/retrain/mine", "--json").out)
    assert (found["saw_validation"], found["location"]) == (True, "run/retrain/mine/export/model.onnx")
    assert found["largest_difference"] < 1e-4
    opened = FORMATS["onnx"].reader().read((run / "retrain" / "mine" / "export" / "model.onnx").read_bytes())
    assert opened.facts.preprocessing.mean == (70.0,)


@pytest.mark.slow
def test_a_run_on_an_object_store_gets_its_file_there(object_store: ObjectStore, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", baseline_for_digits())
    remote = Folder.at(object_store.uri(f"bucket/{tmp_path.name}"))
    for name in ("run.json", "best/network.json", "best/weights.safetensors"):
        remote.write(name, (run / name).read_bytes())
    export_network(str(remote), ExportSettings(format="onnx"))
    assert (remote / "best" / "export").names() == ["exports.json", "model.onnx"]


def baseline_for_digits() -> BaselineSpec:
    return baseline("resnet18", size=(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "onxx"}, "--format is 'onxx'; known: onnx, torch-export, executorch; did you mean 'onnx'?"),
        (
            {"format": "onnx", "prune": "weights"},
            "--prune is 'weights'; it must be weights:FRACTION or channels:FRACTION",
        ),
        ({"format": "onnx", "prune": "weights:1.0"}, "above 0 and below 1"),
        ({"format": "onnx", "prune": "weights:nan"}, "above 0 and below 1"),
        ({"format": "onnx", "prune": "layers:0.5"}, "--prune is 'layers:0.5'"),
        ({"format": "onnx", "fine_tune": 3}, "--fine-tune is 3, but nothing is pruned"),
        ({"format": "onnx", "prune": "weights:0.5", "fine_tune": -1}, "--fine-tune is -1; it must be at least 0"),
    ],
)
def test_invalid_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ExportSettings(**arguments)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        ("onnxscript", ["--format", "onnx"], 'onnx needs onnxscript; install with: pip install "cellscout[export]"'),
        ("onnxruntime", ["--format", "onnx"], "onnx needs onnxruntime;"),
        ("torchao", ["--format", "torch-export", "--int8"], "torch-export needs torchao;"),
        (
            "executorch",
            ["--format", "executorch"],
            'install with: pip install "cellscout[mobile]"',
        ),
    ],
)
def test_a_missing_extra_is_named_before_anything_is_written(
    missing: str, arguments: list[str], message: str, tmp_path: Path, cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run")
    monkeypatch.setitem(sys.modules, missing, None)
    shown = cellscout("export", "run", *arguments)
    assert (shown.status, shown.out, shown.err.count("\n")) == (2, "", 1)
    assert message in shown.err
    assert not (tmp_path / "run" / "best" / "export").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("weights.safetensors", "the weights are those of another network"),
        ("export/exports.json", "exports.json is malformed"),
    ],
)
def test_a_damaged_network_or_record_is_refused(file: str, message: str, tmp_path: Path, cellscout: Any) -> None:
    best = make_run(tmp_path / "run") / "best"
    (best / file).parent.mkdir(exist_ok=True)
    (best / file).write_bytes(b"{")
    shown = cellscout("export", "run")
    assert (shown.status, shown.err.splitlines()[-1].count(message)) == (2, 1)
    assert not (best / "export" / "model.onnx").exists()


def test_images_that_changed_since_the_search_are_refused(tmp_path: Path, cellscout: Any) -> None:
    run = make_run(tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    info["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(info))
    shown = cellscout("export", "run")
    assert shown.status == 2
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "a", "int8": false, "preprocessing": {}}', "null"])
def test_unknown_metadata_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError, match=METADATA):
        ModelFacts.loads(text)


def test_an_empty_record_has_no_files(tmp_path: Path) -> None:
    assert Exports.read(Folder.at(tmp_path)).files == []


@pytest.mark.slow
@quiet
def test_search_export_and_predict_together(searched_digits: Path, tmp_path: Path, cellscout: Any) -> None:
    """Runs the last two commands of the README after a search."""
    shutil.copytree(searched_digits, tmp_path / "run")
    shown = cellscout("export", "run", "--format", "onnx", "--int8", "--json")
    assert shown.status == 0, shown.err
    found = json.loads(shown.out)
    assert found["scores"]["accuracy"] > found["pytorch"]["accuracy"] - 0.2
    write_digit(tmp_path / "digit.png")
    assert cellscout("predict", "run/best/export/model.int8.onnx", "digit.png").out.startswith("digit.png  ")


def write_digit(path: Path) -> None:
    """Write a digit as the README does."""
    from PIL import Image
    from sklearn.datasets import load_digits

    Image.fromarray((load_digits().images[7] * 255 / 16).round().astype("uint8")).save(path)
