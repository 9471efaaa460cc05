"""The repository: configs that parse, the copy of the preprocessing, labels, and one model file."""

import errno
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

import zoo.decoding_memory
import zoo.preprocess
from serving.bundle import Bundle
from serving.server.server import TritonServer
from serving.triton import repository
from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL, build_configs
from serving.triton.options import RepositoryOptions
from serving.triton.repository import check_repository
from tests.serving.conftest import make_model
from zoo.card import Card
from zoo.errors import UserError


def parse(folder: Path) -> schema.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())


@pytest.mark.parametrize("name", [ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL])
def test_configs_parse_and_name_their_folder(bundle: Bundle, name: str) -> None:
    config = parse(bundle.repository / name)
    assert config.name == name
    assert config.max_batch_size > 1
    assert (bundle.repository / name / "1").is_dir()


def test_entry_model_carries_card_and_hash(bundle: Bundle) -> None:
    parameters = parse(bundle.repository / ENTRY_MODEL).parameters
    assert Card.from_json(parameters["card"].string_value) == bundle.card
    assert parameters["model_hash"].string_value == bundle.model_hash


def test_requests_are_merged_where_work_is_done(bundle: Bundle) -> None:
    for name in (ONNX_MODEL, PREPROCESS_MODEL):
        assert parse(bundle.repository / name).HasField("dynamic_batching")


def test_preprocessing_is_a_verbatim_copy(bundle: Bundle) -> None:
    for module in (zoo.preprocess, zoo.decoding_memory):
        original = Path(module.__file__)
        copy = bundle.repository / PREPROCESS_MODEL / "1" / original.name
        assert copy.read_bytes() == original.read_bytes()


def test_labels_are_the_cards(bundle: Bundle) -> None:
    folder = bundle.repository / ONNX_MODEL
    assert tuple((folder / "colors.txt").read_text().split()) == bundle.card.colors
    assert tuple((folder / "types.txt").read_text().split()) == bundle.card.types


def test_the_model_takes_disk_space_once(bundle: Bundle) -> None:
    assert (bundle.repository / ONNX_MODEL / "1" / "model.onnx").samefile(bundle.onnx_file)


@pytest.mark.parametrize(
    "part", [f"{ONNX_MODEL}/1/model.onnx", f"{PREPROCESS_MODEL}/config.pbtxt", f"{ENTRY_MODEL}/1"]
)
def test_half_copied_repository_is_refused(bundle: Bundle, tmp_path: Path, part: str) -> None:
    shutil.copytree(bundle.path, tmp_path / "copy")
    copy = Bundle.open(tmp_path / "copy")
    check_repository(copy)
    path = copy.repository / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=f"{part} is missing; copy the bundle again"):
        check_repository(copy)


def test_damaged_model_in_the_repository_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "copy")
    copy = Bundle.open(tmp_path / "copy")
    model = copy.repository / ONNX_MODEL / "1" / "model.onnx"
    model.write_bytes(model.read_bytes()[:1000])
    with (
        pytest.raises(
            UserError, match=r"model\.onnx is damaged or another model; copy the bundle again"
        ) as error,
        TritonServer(copy),
    ):
        pass
    assert "\n" not in str(error.value)


def test_pose_inputs_pass_through_the_ensemble() -> None:
    _, card = make_model(keypoints=True, heatmaps=True)
    configs = build_configs(card, "0" * 64)
    for name in (ENTRY_MODEL, ONNX_MODEL):
        inputs = {spec.name: spec for spec in configs[name].input}
        assert list(inputs["keypoints"].dims) == [108]
        assert inputs["keypoints"].data_type == schema.TYPE_FP32
        assert list(inputs["heatmaps"].dims) == [64, 64, 36]
        assert inputs["heatmaps"].data_type == schema.TYPE_UINT8
    assert set(configs[ENTRY_MODEL].ensemble_scheduling.step[1].input_map) == {
        "image",
        "keypoints",
        "heatmaps",
    }


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", range(1, 7))
def test_an_installation_that_was_cut_short_is_made_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException
) -> None:
    """A full disk leaves nothing of a first one; what a kill leaves stands in nobody's way."""
    folder, steps = tmp_path / "repository", itertools.count(1)
    write = repository._write_changed
    copy = shutil.copyfile

    def stopping(function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            if next(steps) == step:
                raise error
            return function(*arguments)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(repository, "_write_changed", stopping(write))
        patch.setattr(shutil, "copyfile", stopping(copy))
        with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            repository.install(bundle, folder, RepositoryOptions())
    if isinstance(error, OSError):
        assert "nothing was left behind" in str(caught.value)
        assert not folder.exists()
    assert repository.install(bundle, folder, RepositoryOptions()).version == 1


def test_a_version_that_was_begun_is_not_taken_for_another(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    repository.install(bundle, folder, RepositoryOptions())
    # A kill while another model was being put in: its files are there, the entry does not name them yet.
    for name in repository.MODELS:
        (folder / name / "2").mkdir()
    (folder / ONNX_MODEL / "2" / "model.onnx").write_bytes(b"another model")
    (folder / PREPROCESS_MODEL / "1" / "model.py").write_text("as an earlier release decoded")
    assert repository.install(bundle, folder, RepositoryOptions()).version == 2
