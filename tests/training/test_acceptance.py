"""The acceptance checks, by the real commands on a small scale."""

import json
from pathlib import Path

import pytest

from training import acceptance
from training.acceptance import CHECKS, Scale, judge, main, train_command
from training.datasets import read_split
from training.distributed.devices import KINDS, Devices


def report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def test_one_check_alone(own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "acceptance"
    argv = ["--data-root", str(own_root), "--only", "eval", "--out", str(out), "--cpus", "1"]
    assert main([*argv, "--weights", "densenet121.synthetic", "--json"]) == 0
    (check,) = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"]
    assert (check["check"], check["verdict"]) == ("eval", "OK")
    assert check["measured"].startswith("mAP ")
    assert "training.evaluate" in check["command"]
    assert "mAP" in Path(check["log"]).read_text()
    assert "No cards are used" in (out / "report.md").read_text()


def test_a_failure_fails_the_command_and_names_the_log(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "acceptance"
    argv = ["--data-root", str(own_root / "nowhere"), "--only", "eval", "--out", str(out), "--cpus", "1"]
    assert main([*argv, "--weights", "densenet121.synthetic"]) == 1
    (check,) = report(out)["checks"]
    assert (check["verdict"], check["measured"]) == ("Failed", "exit code 2")
    assert "nowhere" in Path(check["log"]).read_text()
    assert "Failed" in capsys.readouterr().out


def test_eval_alone_wants_weights(own_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-root", str(own_root), "--only", "eval"]) == 2
    assert "give --weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("check", "mean_average_precision", "fps", "verdict"),
    [
        ("train_full_1p", 0.6927, 10.0, "OK"),
        ("train_full_1p", 0.6880, 10.0, "Failed"),
        ("train_full_8p", 0.5431, 10.0, "OK"),
        ("train_performance_1p", 0.0, 89.3, "OK"),
        ("train_performance_8p", 0.0, 502.9, "Failed"),
    ],
)
def test_on_cards_the_published_figures_count(
    tmp_path: Path, check: str, mean_average_precision: float, fps: float, verdict: str
) -> None:
    run = tmp_path / check
    run.mkdir()
    (run / "best.safetensors").touch()
    (run / "metrics.json").write_text(json.dumps({"mAP": mean_average_precision}))
    (run / "metrics.jsonl").write_text(json.dumps({"fps": 1.0}) + "\n" + json.dumps({"fps": fps}) + "\n")
    scale = Scale("npu", 8, "pamtri", published=True)
    target, _, found = judge(check, scale, tmp_path, None, tmp_path / "log")
    assert found == verdict
    # The reference's target, and what it was accepted with.
    assert (
        target
        == {
            "train_full_1p": "mAP 69.46",
            "train_full_8p": "mAP 54.31",
            "train_performance_1p": "200 images/s (accepted: 89.3)",
            "train_performance_8p": "1302 images/s (accepted: 503)",
        }[check]
    )
    small = Scale("cpu", 2, "smoke", published=False)
    assert judge(check, small, tmp_path, None, tmp_path / "log")[2] == "OK"
    (run / "best.safetensors").unlink()
    assert judge(check, small, tmp_path, None, tmp_path / "log")[2] == "Failed"


def test_veris_targets_are_for_veri_alone(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "choose_devices", lambda *_: Devices(KINDS["npu"], 8))
    arguments = acceptance.build_parser().parse_args(["--data-root", str(own_root), "--npus", "8"])
    scale = acceptance.scale_of(arguments)
    assert not scale.published
    assert "the targets are not compared" in scale.note()
    counts = {split: len(read_split(own_root, split)) for split in ("query", "test")}
    monkeypatch.setattr(acceptance, "VERI_IMAGES", counts)
    assert acceptance.scale_of(arguments).published


def test_the_commands_for_cards(tmp_path: Path) -> None:
    scale = Scale("npu", 8, "pamtri", True, ("--amp", "O2", "--loss-scale", "128"))
    command = " ".join(train_command("train_performance_8p", scale, "data/veri", tmp_path))
    assert "training.launch --data-root data/veri --recipe pamtri --npus 8" in command
    assert command.endswith("--amp O2 --loss-scale 128 --epochs 2")
    assert "--npus 1" in " ".join(train_command("train_full_1p", scale, "data/veri", tmp_path))


@pytest.mark.slow
def test_all_six_checks(own_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "acceptance"
    assert main(["--data-root", str(own_root), "--out", str(out), "--cpus", "1"]) == 0
    checks = report(out)["checks"]
    assert [check["check"] for check in checks] == list(CHECKS)
    verdicts = {check["check"]: check["verdict"] for check in checks}
    # One rank was asked for, so that there are no several.
    assert [name for name, verdict in verdicts.items() if verdict == "Skipped"] == [
        "train_full_8p",
        "train_performance_8p",
    ]
    assert set(verdicts.values()) == {"OK", "Skipped"}
    assert list((out / "bundle").rglob("*.onnx"))
