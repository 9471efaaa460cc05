"""Options from a file, from the environment and typed: which goes first, and what is refused."""

import argparse
import tomllib
from pathlib import Path

import pytest

from retrieval.app import build_parser
from retrieval.ingest_options import build_parser as ingest_parser
from retrieval.maintenance import build_parser as maintenance_parser
from serving.launch import main as launch
from zoo.command_line import CommandParser
from zoo.errors import UserError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(
        '[app]\ngallery = "build/g"\nport = 1\nrate = 2.5\nwritable = true\n'
        'camera-centring = true\nlog_form = "json"\n[serve]\nport = 9\n'
    )
    for name in ("CONFIG", "APP_PORT", "APP_RATE"):
        monkeypatch.delenv(f"VEHICLE_REID_{name}", raising=False)
    return path


def parse(*arguments: object) -> argparse.Namespace:
    found: argparse.Namespace = build_parser().parse_args([str(argument) for argument in arguments])
    return found


def test_one_precedence(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse("--config", config)
    assert (found.gallery, found.port, found.rate, found.writable) == ("build/g", 1, 2.5, True)
    assert (found.camera_centring, found.log_form, found.host) == (True, "json", "127.0.0.1")
    monkeypatch.setenv("VEHICLE_REID_APP_PORT", "2")
    monkeypatch.setenv("VEHICLE_REID_APP_WRITABLE", "off")
    assert (parse("--config", config).port, parse("--config", config).writable) == (2, False)
    found = parse("--config", config, "--port", 3, "--gallery=other")
    assert (found.port, found.gallery, found.rate) == (3, "other", 2.5)
    monkeypatch.setenv("VEHICLE_REID_CONFIG", str(config))
    assert (parse().rate, parse("--config", config).port) == (2.5, 2)


def test_what_is_printed_is_a_file_that_says_the_same(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--config", config, "--audit", "审计 \"x\".jsonl", "--print-config")  # fmt: skip
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["app"]["audit"] == '审计 "x".jsonl'
    assert "# keys =" in printed
    (tmp_path / "printed.toml").write_text(printed, encoding="utf-8")
    once = vars(parse("--config", config, "--audit", '审计 "x".jsonl'))
    again = vars(parse("--config", tmp_path / "printed.toml"))
    assert once | {"config": None} == again | {"config": None}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[app]\nprot = 1", r"site.toml: \[app\] prot: no option has this name; did you mean port\?"),
        ("[app]\njson = true", "no option has this name"),
        ("[app]\nport = 'x'", r"\[app\] port: 'x' is not a value that --port takes"),
        ("[app]\nport = [1]", "write one text or number"),
        ("[app]\nwritable = 'yes'", "neither true nor false"),
        ("[app]\nlog = 'loud'", "there are off, error, info, debug"),
        ("port = 1", r"write \[app\] above them"),
        ("[app", "not TOML that can be read"),
    ],
)
def test_files_that_make_no_sense(config: Path, text: str, complaint: str) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match=complaint):
        parse("--config", config, "--gallery", "g")


def test_an_environment_that_makes_no_sense(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, complaint in (
        ("APP_PORT", "x", "VEHICLE_REID_APP_PORT: 'x' is not a value that --port takes"),
        ("APP_PROT", "1", "VEHICLE_REID_APP_PROT: no option has this name"),
        ("CONFIG", "absent.toml", "--config absent.toml: cannot be read"),
    ):
        with monkeypatch.context() as here:
            here.setenv(f"VEHICLE_REID_{name}", value)
            with pytest.raises(UserError, match=complaint):
                parse("--gallery", "g")
            assert "--config" in build_parser().format_help()


def test_other_commands_ask_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEHICLE_REID_CONFIG", "absent.toml")
    parser = CommandParser(module="retrieval.search", examples=[""])
    parser.add_argument("--port", type=int)
    assert parser.parse_args([]).port is None


def test_the_server_has_a_table_of_its_own(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[app]\nport = 1\n[serve]\ngrpc-port = 9\ntimeout = 5\n")
    with pytest.raises(SystemExit):
        launch(["--config", str(config), "--print-config"])
    printed = tomllib.loads(capsys.readouterr().out)["serve"]
    assert (printed["grpc_port"], printed["timeout"], printed["poll"]) == (9, 5.0, 0)


def test_an_ingest_of_a_stream_has_a_table(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(
        '[ingest]\nvideo = "rtsp://10.0.0.7/1"\ngallery = "g"\nfollow = true\ncamera-centring = false\n'
    )
    monkeypatch.setenv("VEHICLE_REID_INGEST_CAMERA", "3")
    found = ingest_parser().parse_args(["--config", str(config), "--rate=2"])
    assert (found.video, found.gallery, found.follow) == ("rtsp://10.0.0.7/1", "g", True)
    assert (found.camera, found.rate, found.camera_centring, found.images) == (3, 2.0, False, None)


def test_each_subcommand_has_a_table_with_the_names_that_are_typed(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[gallery_backup]\ngallery = "g"\nto = "b"\n[gallery_restore]\nfrom = "b"\n')
    found = maintenance_parser().parse_args(["backup", "--config", str(config), "--to", "other"])
    assert (found.gallery, found.to) == ("g", Path("other"))
    monkeypatch.setenv("VEHICLE_REID_GALLERY_RESTORE_GALLERY", "new")
    restore = ["restore", "--config", str(config)]
    assert maintenance_parser().parse_args(restore).source == Path("b")
    with pytest.raises(SystemExit) as ended:
        maintenance_parser().parse_args([*restore, "--print-config"])
    assert ended.value.code == 0
    printed = tomllib.loads(capsys.readouterr().out)
    assert printed == {"gallery_restore": {"from": "b", "gallery": "new", "replace": False}}
    config.write_text("[gallery_restore]\nfrm = 'b'\n")
    with pytest.raises(UserError, match=r"\[gallery_restore\] frm: no option has this .* from\?"):
        maintenance_parser().parse_args(restore)
