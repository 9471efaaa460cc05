"""A bundle is whole or not there, and writing one destroys nothing but a bundle."""

import resource
import shutil
from pathlib import Path

import pytest

from serving.bundle import Bundle, writing
from serving.conversion.bundling import export_bundle
from tests.serving.conftest import make_model
from zoo.errors import UserError


def test_open_gives_card_and_hash(bundle: Bundle) -> None:
    again = Bundle.open(bundle.path)
    assert again == bundle
    assert len(again.model_hash) == 64


def test_open_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no bundle there; make one with: python -m serving\.export"):
        Bundle.open(tmp_path / "none")


def test_open_names_missing_parts(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"not a bundle \(model\.onnx missing\)"):
        Bundle.open(copy)


@pytest.mark.parametrize("part", ["model.onnx", "parity.json"])
def test_part_that_was_cut_short_is_noticed(bundle: Bundle, tmp_path: Path, part: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / part).write_bytes((bundle.path / part).read_bytes()[:20])
    with pytest.raises(UserError, match=r"model\.onnx is not the model .*Copy it again"):
        Bundle.open(copy)


def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UserError, match="holds other files and is no bundle"), writing(photos):
        raise AssertionError("must not be entered")
    assert (photos / "holiday.jpg").read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [photos]


def test_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("text")
    with pytest.raises(UserError, match="is not a folder"), writing(tmp_path / "out"):
        raise AssertionError("must not be entered")


def test_empty_folder_and_old_bundle_are_replaced(bundle: Bundle, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    old = tmp_path / "old"
    shutil.copytree(bundle.path, old)
    for target in (empty, old):
        with writing(target) as folder:
            (folder / "new").write_text("new")
        assert [path.name for path in target.iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "old"]


def test_failure_leaves_the_old_bundle(bundle: Bundle, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(bundle.path, old)
    with pytest.raises(RuntimeError), writing(old) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError("interrupted")
    assert Bundle.open(old).model_hash == bundle.model_hash
    assert list(tmp_path.iterdir()) == [old]


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    model, card = make_model()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, limits[1]))
    try:
        with pytest.raises(UserError, match="nothing was left behind") as error:
            export_bundle(model, card, tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "option"), [("best.safetensors", "--weights"), ("w.pth", "--weights"), ("m.onnx", "--onnx")]
)
def test_a_file_is_named_with_the_command_that_makes_a_bundle_of_it(
    tmp_path: Path, name: str, option: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"serving\.export {option} .*{name} --out"):
        Bundle.open(tmp_path / name)
