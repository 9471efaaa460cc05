"""Trainings with a teacher: asked once, its answers kept, and a killed run goes on as if it had not been."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image

from tests.training.datasets.layouts import write_cityflow
from tests.training.run.killed_run import kill_within
from tests.training.veri_layout import make_veri
from training.adapt import main as adapt
from training.datasets import read_split
from training.distributed.ranks import Ranks
from training.launch import main as launch
from training.run import teacher as teacher_module
from training.run.run_folder import FIRST_FILES
from training.run.teacher import TEACHER, Teacher
from zoo.errors import UserError
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

# What the recipe for real roads has, on the network whose processes start fastest.
RECIPE = """size = [32, 32]
epochs = 2
num_identities = 4
num_instances = 2
sampler = "even"
init = "none"
cache = true
ema_decay = 0.9
teacher = "{teacher}"
[model]
arch = "efficientnet_lite0"
embedding_dim = 16
attribute_dim = 8
[loss]
teacher = 2.0
[augmentation]
tone = 0.5
softness = 0.3
noise = 0.2
fading = 0.1
"""


def save_teacher(path: Path, seed: int = 0, **options: object) -> Path:
    """A teacher that sees pictures otherwise than its pupil: another size, other order of channels."""
    torch.manual_seed(seed)
    model = create_model("efficientnet_lite0", embedding_dim=24, attribute_dim=8, **options)
    keypoints = torch.rand(16, 108) if model.keypoints else None
    # Its BatchNorms learn what pictures are like: before, all are the same to it.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 48, 40), keypoints)
    save_weights(model, make_card(model, "efficientnet_lite0.old", (48, 40), channels="BGR"), path)
    return path


@pytest.fixture(scope="module")
def argv(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What all runs here have in common: two data sets, a recipe and its teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    large = make_veri(folder / "large", train_ids=8, test_ids=2, images=6)
    small = make_veri(folder / "small", train_ids=4, test_ids=2, images=3)
    teacher = save_teacher(folder / "old.safetensors")
    (folder / "tiny.toml").write_text(RECIPE.format(teacher=teacher))
    roots = ["--data-root", str(large), "--data-root", str(small)]
    return [*roots, "--recipe", str(folder / "tiny.toml"), "--threads", "1", "--cpus", "1"]


@pytest.fixture(scope="module")
def whole(argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert launch([*argv, "--out", str(out)]) == 0
    return out


def unfinished(run: Path, to: Path, *files: str) -> Path:
    """A run as one that was killed before its first checkpoint leaves it."""
    to.mkdir()
    for name in (*FIRST_FILES, *files):
        shutil.copy(run / name, to / name)
    return to


def answers(run: Path) -> np.ndarray:
    return safetensors.numpy.load_file(run / TEACHER)["embedding"]


def assert_same_weights(found: Path, expected: Path) -> None:
    for name in ("last", "best"):
        one, other = (safetensors.torch.load_file(run / f"{name}.safetensors") for run in (found, expected))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in other)


@pytest.fixture
def not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a teacher is asked."""

    def ask(*arguments: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(teacher_module, "deployed_model", ask)


def test_it_is_part_of_the_loss_and_sees_each_picture_plainly(argv: list[str], whole: Path) -> None:
    entries = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < entry["loss_teacher"] < 2 for entry in entries)
    assert entries[1]["loss_teacher"] < entries[0]["loss_teacher"], "it learns to see as the teacher does"
    kept = answers(whole)
    assert (kept.shape, kept.dtype) == ((8 * 6 + 4 * 3, 24), np.float32)
    teacher = Teacher(str(Path(argv[5]).with_name("old.safetensors")))
    records = read_split(argv[3], "train")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    alone = teacher.embeddings(records, Ranks(), None, "")
    assert torch.equal(torch.get_rng_state(), before), "chance is left as it was"
    np.testing.assert_allclose(alone, kept[48:], rtol=0, atol=1e-5)


def test_a_killed_run_goes_on_bit_for_bit(
    argv: list[str], whole: Path, tmp_path: Path, not_asked: None
) -> None:
    killed = tmp_path / "killed"
    kill_within(argv, killed)
    assert launch([*argv, "--out", str(killed), "--resume"]) == 0
    assert_same_weights(killed, whole)


def test_killed_before_the_first_step_it_is_not_asked_again(
    argv: list[str], whole: Path, tmp_path: Path, not_asked: None
) -> None:
    run = unfinished(whole, tmp_path / "run", TEACHER)
    assert launch([*argv, "--out", str(run), "--resume"]) == 0
    assert_same_weights(run, whole)


def test_damaged_answers_are_asked_for_again(argv: list[str], whole: Path, tmp_path: Path) -> None:
    run = unfinished(whole, tmp_path / "run", TEACHER)
    whole_file = (run / TEACHER).read_bytes()
    (run / TEACHER).write_bytes(whole_file[:-1] + bytes([whole_file[-1] ^ 1]))
    assert launch([*argv, "--out", str(run), "--resume"]) == 0
    assert (answers(run) == answers(whole)).all()
    assert_same_weights(run, whole)


def test_ranks_share_the_work(argv: list[str], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert launch([*argv[:-1], "2", "--epochs", "1", "--out", str(out)]) == 0
    np.testing.assert_allclose(answers(out), answers(whole), rtol=0, atol=1e-5)


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert launch(argv) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_other_weights_under_the_teachers_name_are_noticed(
    argv: list[str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / "metrics.json").unlink()
    path = Path(argv[5]).with_name("old.safetensors")
    kept = {file: file.read_bytes() for file in (path, path.with_suffix(".json"))}
    try:
        save_teacher(path, seed=1)
        message = refused([*argv, "--out", str(run), "--resume"], capsys)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
    assert "--resume: the run was started with the teacher's weights = " in message


@pytest.mark.parametrize(
    ("given", "other", "message"),
    [
        ('teacher = "{teacher}"', "", "teacher = '', and teacher = 2.0 in [loss]: a teacher needs a weight"),
        ("[loss]\nteacher = 2.0", "", "and teacher = 0.0 in [loss]"),
        ("{teacher}", "lite0_osnet.rael", "teacher = 'lite0_osnet.rael': lite0_osnet.rael: neither"),
        ("{teacher}", "no/such.safetensors", "no/such.safetensors: no weights there"),
        ("num_identities = 4\nnum_instances = 2", "num_identities = 1\nnum_instances = 2", "three at least"),
    ],
)
def test_faults_are_named(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, other: str, message: str
) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.replace(given, other).format(teacher="lite0_osnet.real"))
    out = tmp_path / "run"
    assert message in refused([*argv[:5], str(recipe), "--out", str(out)], capsys)
    assert not out.exists()


def test_a_teacher_of_keypoints_for_pictures_without(tmp_path: Path) -> None:
    city = write_cityflow(tmp_path / "city")
    for path in (city / "image_train").iterdir():
        Image.new("RGB", (40, 30), "navy").save(path)
    teacher = Teacher(str(save_teacher(tmp_path / "old.safetensors", keypoints=True)))
    with pytest.raises(UserError, match="has no keypoint labels, and the model takes keypoints"):
        teacher.embeddings(read_split(city, "train"), Ranks(), tmp_path, "")
    assert not (tmp_path / TEACHER).exists()


def test_adaptation_has_no_teacher(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--weights", "osnet_ain.synthetic", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert adapt([*given, "--recipe", argv[5]]) == 2
    assert "its teacher has no place in adaptation" in capsys.readouterr().err
