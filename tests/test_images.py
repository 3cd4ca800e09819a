"""When a search reads its images, and images that have moved since the search."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.stopping import SearchStopper, raising_on_interrupt, stopping_on_interrupt
from orchestrator.cluster.worker_call import call_in_worker
from orchestrator.config.loading import load_config
from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ClusterError, ConfigError
from orchestrator.networks.retraining.networks import places_of, recipe_of
from orchestrator.networks.retraining.run import images_of
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.progress import Progress
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import describe_run
from orchestrator.search.passed import PassedParts
from orchestrator.search.run import resume_search, run_search
from orchestrator.search.setup import SearchComponents, few_steps, run_environment
from tests.image_files import write_fashion_mnist, write_folders
from tests.trained import make_run
from trainables.settings import TrainingSettings
from trainables.storage import Folder


def folder_config(root: Path | str, **data: Any) -> SearchConfig:
    values = {"data": {"name": "image_folder", "root": str(root), **data}, "scheduler": {"name": "fifo"}}
    return SearchConfig.model_validate(values)


class RayStarted(Exception):  # noqa: N818  the end of a test
    """Ray would have been started."""


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(address: str | None) -> None:
        raise RayStarted

    monkeypatch.setattr("orchestrator.search.setup.connected", start)


def prepare(config: SearchConfig, folder: Path) -> None:
    components = SearchComponents.of(config, PassedParts())
    with run_environment(components, RunDirectory.at(folder), address=None, progress=Progress.silent()):
        pass


OWN_DATA = """
import sys
def leaves(): sys.exit("no licence for this data")
def gone(): return open("/nowhere/labels.csv")
"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"root": "nowhere"}, "nowhere' is not a folder"),
        ({"name": "cifar10", "root": "nowhere"}, "nowhere' is not a folder .set data.root, or data.download = true"),
        ({"name": "npz", "root": "nowhere"}, "is not an .npz file"),
        ({"root": "one"}, "has 1 class"),
        ({"root": "spoilt"}, "cannot be read as a picture"),
        ({"name": "data_that_leaves:leaves"}, "SystemExit: no licence for this data"),
        ({"name": "data_that_leaves:gone"}, "raised FileNotFoundError"),
        ({"name": "data_that_leaves:none"}, "has no 'none'"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_ray")
def test_data_that_cannot_be_used_are_refused_before_ray_starts(
    data: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_folders(tmp_path, {"one/cat": 9, "spoilt/cat": 9, "spoilt/dog": 9})
    (tmp_path / "spoilt" / "dog" / "5.png").write_bytes(b"no picture")
    (tmp_path / "data_that_leaves.py").write_text(OWN_DATA)
    with pytest.raises(ConfigError, match=message):
        prepare(folder_config(**{"root": tmp_path, **data}), tmp_path / "run")


@pytest.mark.usefixtures("no_ray")
def test_networks_that_cannot_be_built_for_the_images_are_refused_before_ray_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training.cutout is 16; with images of 8x8 pixels it can be at most 8"):
        prepare(SearchConfig.model_validate({"training": {"cutout": 16}}), tmp_path / "run")


@pytest.mark.usefixtures("no_ray")
def test_a_constraint_that_no_candidate_can_meet_is_refused_before_ray_starts(tmp_path: Path) -> None:
    config = SearchConfig.model_validate({"objectives": {"constraints": {"parameters": 1e9, "macs": 10}}})
    with pytest.raises(ConfigError, match=r"constraints.macs is 10, and the stem that all networks have needs 27,648:"):
        prepare(config, tmp_path / "run")


@pytest.mark.usefixtures("no_ray")
def test_more_cores_than_there_are_are_refused_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="resources.cpus_per_trial is 100000; it must be at most"):
        prepare(SearchConfig.model_validate({"resources": {"cpus_per_trial": 100_000}}), tmp_path / "run")


@pytest.mark.usefixtures("no_ray")
def test_torchvisions_data_are_read_after_ray_has_started(tmp_path: Path) -> None:
    """The driver imports no torch by itself."""
    write_fashion_mnist(tmp_path)
    with pytest.raises(RayStarted):
        prepare(folder_config(tmp_path, name="fashion_mnist"), tmp_path / "run")


def test_sigterm_ends_the_reading_and_the_handler_returns() -> None:
    stopper = SearchStopper(None)
    with stopping_on_interrupt(stopper):
        outer = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), raising_on_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is outer
    assert not stopper.interrupted


def test_sigterm_ends_the_reading_on_the_cluster_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's start replaces the handler of SIGTERM by one that ends the process with a dump."""
    before = signal.getsignal(signal.SIGTERM)

    @contextmanager
    def connected(address: str | None) -> Iterator[None]:
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("Ray's handler was called"))
        yield None

    def read(_settings: object, _seed: int, stopper: SearchStopper) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        stopper.check()

    write_fashion_mnist(tmp_path)
    for name, stand_in in (("connected", connected), ("load_on_cluster", read)):
        monkeypatch.setattr(f"orchestrator.search.setup.{name}", stand_in)
    for name in ("allot", "node_resources", "growth", "check_storage"):
        monkeypatch.setattr(f"orchestrator.search.setup.{name}", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder_config(tmp_path, name="fashion_mnist"), tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_ends_what_a_worker_is_called_for(local_ray: None) -> None:
    stopper = SearchStopper(None)
    call = partial(call_in_worker, doing="a test", refusal=ValueError)
    stopper.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        call(time.sleep, 600, stopper=stopper)
    assert call(sum, [1, 2], stopper=SearchStopper(None)) == 3  # the only CPU is free again


@pytest.fixture
def moved(tmp_path: Path) -> tuple[RecordedRun, Path]:
    """The run of a search whose images have moved, and where they are now."""
    write_folders(tmp_path / "before", {"cat": 20, "dog": 20})
    run = make_run(tmp_path / "run", config=folder_config(tmp_path / "before"))
    shutil.move(tmp_path / "before", tmp_path / "now")
    return RecordedRun.of_ended_search(run), tmp_path / "now"


def test_the_same_images_at_another_place_serve(moved: tuple[RecordedRun, Path]) -> None:
    run, now = moved
    with pytest.raises(ConfigError, match=r"before' is not a folder; .* elsewhere now, add --set data.root=PATH"):
        images_of(run)
    assert images_of(run.with_data_at([f"data.root={now}"])).describe() == run.info.data


def test_other_images_there_are_refused_by_their_checksum(moved: tuple[RecordedRun, Path]) -> None:
    run, now = moved
    shutil.copy(now / "cat" / "0.png", now / "cat" / "1.png")
    with pytest.raises(ConfigError, match=r"data set 'image_folder' has changed: its sha256 is"):
        images_of(run.with_data_at([f"data.root={now}"]))


def test_the_checksum_decides_and_no_last_digit_of_a_mean(moved: tuple[RecordedRun, Path]) -> None:
    run, _ = moved
    run.check_images({**run.info.data, "mean": [value + 1e-13 for value in run.info.data["mean"]]})


def test_nothing_but_the_place_can_change(moved: tuple[RecordedRun, Path]) -> None:
    run, _ = moved
    with pytest.raises(
        ConfigError, match="can change data.download, data.max_pixels, data.root, data.vectors; with another"
    ):
        run.with_data_at(["data.limit=10"])


def test_a_retraining_takes_a_place_beside_its_recipe() -> None:
    settings = RetrainSettings(epochs=3, changes=["data.root=elsewhere"])
    assert places_of(settings) == ["data.root=elsewhere"]
    assert recipe_of(settings, SearchConfig()).epochs == 3


class Seen(Exception):  # noqa: N818  the end of a test
    """Holds the settings with which the data would be read."""


@pytest.mark.usefixtures("no_ray")
def test_a_relative_root_is_found_from_elsewhere(
    moved: tuple[RecordedRun, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def see(components: SearchComponents, *_: object, **__: object) -> None:
        raise Seen(components.config.data.root)

    monkeypatch.setattr("orchestrator.search.run.run_environment", see)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Seen, match=f"^{tmp_path}/pics$"):
        run_search(folder_config("pics"), run_dir=tmp_path / "new")
    run, _ = moved
    (run.directory.folder.local_path or tmp_path).joinpath("events.jsonl").touch()
    with pytest.raises(Seen, match=f"^{tmp_path}/now$"):
        resume_search(run.directory.location, ["data.root=now"])


def test_a_command_that_is_not_utf8_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cellscout", os.fsdecode(b"caf\xe9")])
    info = describe_run(SearchConfig(), resources={}, data={}, score_bounds=(0.0, 1.0))
    assert info.command == ["cellscout", "caf\\xe9"]
    info.model_dump_json()


def test_places_that_are_not_utf8_are_refused_in_one_line() -> None:
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"data.root: 'caf\\\\xe9' has .* bytes that are not UTF-8"):
        load_config(None, [f"data.root={name}"])
    with pytest.raises(ValueError, match="is not UTF-8; use another name"):
        Folder.at(name)


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "smaller"), [(172, 64, 8, 16), (90, 1000, 10, 8), (60, 64, 60, 16)]
)
def test_a_training_of_few_steps_is_remarked_on(images: int, batch: int, epochs: int, smaller: int) -> None:
    found = few_steps(images, TrainingSettings(batch_size=batch, epochs=epochs))
    assert found is not None
    assert f"training.batch_size = {smaller} or more training.epochs" in found
    assert few_steps(1149, TrainingSettings(batch_size=64, epochs=8)) is None
