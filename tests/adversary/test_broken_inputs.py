"""Every public command, given any one broken input, ends with one line that says so."""

import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retrieval.ingest import main as ingest
from tests.retrieval.small_model import write_bundle
from tests.training.veri_layout import make_veri
from vehicle_reid import COMMANDS


def _folder(path: Path) -> None:
    path.mkdir()


def _folder_of_junk(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("nothing of use")


def _content(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


BROKEN: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "folder": _folder,
    "folder of junk": _folder_of_junk,
    "link to nothing": lambda path: path.symlink_to(path.with_name("nowhere")),
    "link to itself": lambda path: path.symlink_to(path),
    "below a file": lambda path: None,
    "long name": lambda path: None,
    "line break in its name": lambda path: None,
    "empty": _content(b""),
    "HTML": _content(b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"),
    "noise": _content(random.Random(0).randbytes(5000)),
    "zeros": _content(bytes(5000)),
    "Latin-1": _content("Straßenkreuzung\nStraße\n".encode("latin-1")),
    "a list": _content(b"[]"),
    "an object": _content(b"{}"),
    "null": _content(b"null"),
    "other JSON": _content(
        b'{"keys": 5, "cameras": [1], "base": 3, "format": [], "name": {}, "outputs": 7}\n'
    ),
    "deep JSON": _content(b'{"a":' * 100_000),
    "long number": _content(b'{"a": ' + b"9" * 10_000 + b"}"),
    "cut archive": _content(b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(40)),
    "cut pickle": _content(b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01"),
    "cut database": _content(b"SQLite format 3\x00\x10\x00\x01\x01\x00" + bytes(100)),
    "cut tensors": _content((10_000).to_bytes(8, "little") + b'{"a":{"dtype":"F32"'),
    "cut picture": _content(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01"),
}
"""What is at an input's place."""

QUICK = ("link to itself", "long name", "line break in its name", "noise", "deep JSON")
"""The kinds of the default run."""

INPUTS = [
    "train --data-root X --cpus 1 --out O",
    "train --data-root VERI --recipe X.toml --cpus 1 --out O",
    "train --data-root VERI --evaluate-on X --cpus 1 --out O",
    "train --data-root VERI --init X.safetensors --cpus 1 --out O",
    "train --data-root VERI --cpus 1 --out X --resume",
    "adapt --weights X.safetensors --data IMAGES --out O --cpus 1",
    "adapt --weights lite0_osnet.real --data X --out O --cpus 1",
    "evaluate --data-root X --weights lite0_osnet.real --cpus 1",
    "evaluate --data-root VERI --weights X.safetensors --cpus 1",
    "evaluate --data-root VERI --weights X.pth --cpus 1",
    "evaluate --data-root VERI --weights X.onnx --cpus 1",
    "evaluate --data-root VERI --rankings X.jsonl --cpus 1",
    "compare X.jsonl X.jsonl",
    "calibrate --data-root X --weights lite0_osnet.real --cpus 1",
    "calibrate --data-root VERI --weights X.safetensors --cpus 1",
    "baseline --data-root X",
    "dataset check X",
    "dataset check X.csv",
    "dataset check VERI --model X.safetensors",
    "release --weights X.safetensors --name densenet121.mine --out O --data-root VERI --licence MIT",
    "zoo show X",
    "zoo fetch X --offline",
    "zoo import X.pth --out O --licence MIT",
    "zoo push-to-folder X O",
    "zoo table --write X.md",
    "export --weights X.safetensors --out O",
    "export --onnx X.onnx --out O --order RGB --mean 0 0 0 --std 1 1 1",
    "export --precision int8 --calibration X --out O",
    "export --precision int8 --calibration X.npz --out O",
    "serve --bundle X",
    "serve --repository X",
    "repository --bundle X --out O",
    "repository --bundle BUNDLE --out O --options X.toml",
    "encode --images X --encoder BUNDLE --out O",
    "encode --images IMAGES --encoder X --out O",
    "encode --images IMAGES --encoder ascend:X.om --out O",
    "ascend --bundle X --out O",
    "benchmark --bundle X",
    "ingest --images X --gallery O --encoder BUNDLE",
    "ingest --manifest X.csv --gallery O --encoder BUNDLE",
    "ingest --manifest X.parquet --gallery O --encoder BUNDLE",
    "ingest --video X.mp4 --gallery O --encoder BUNDLE",
    "ingest --images IMAGES --gallery O --encoder X",
    "ingest --images IMAGES --gallery X.file/gallery --encoder X",
    "ingest --video IMAGES/a.jpg --gallery O --encoder BUNDLE --detector X.onnx",
    "link --gallery X",
    "search --gallery X --query IMAGES/a.jpg",
    "search --gallery GALLERY --query X.jpg",
    "search --gallery GALLERY --query IMAGES/a.jpg --encoder X",
    "app --gallery X --port 0",
    "app --gallery GALLERY --port 0 --keys X.json",
    "app --gallery GALLERY --port 0 --encoder X",
    "app --gallery GALLERY --port 0 --detector X.onnx",
    "gallery check --gallery X",
    "gallery backup --gallery X --to O",
    "gallery restore --from X --gallery O",
    "gallery reembed --gallery X --to O",
    "gallery reembed --gallery GALLERY --to O --encoder X",
    "gallery prune --gallery X --older-than 8:05",
    "gallery prune --gallery GALLERY --missing-from X",
    "transfer --from X --to O",
    "keys list --keys X.json",
    "keys remove me --keys X.json",
]
"""Commands whose input X is broken, with the suffix that its name has; O is a fresh place to write to."""

SOUND = {
    ("repository --bundle BUNDLE --out O --options X.toml", "empty"),
    ("keys list --keys X.json", "a list"),
}
"""What is not broken there."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The other inputs, which are fine."""
    home = tmp_path_factory.mktemp("sound")
    (home / "images").mkdir()
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (48, 48), color).save(home / "images" / f"{name}.jpg")
    places = {"IMAGES": home / "images", "BUNDLE": write_bundle(home / "bundle"), "GALLERY": home / "gallery"}
    places["VERI"] = make_veri(home / "veri", train_ids=2, test_ids=2, images=3)
    argv = ["--images", "images", "--gallery", "gallery", "--encoder", "bundle"]
    assert ingest([str(places.get(word.upper(), word)) for word in argv]) == 0
    return {name: str(path) for name, path in places.items()}


def _place(home: Path, kind: str, suffix: str) -> Path:
    """Where the broken input is."""
    if kind == "long name":
        return home / ("x" * 300 + suffix)
    if kind == "line break in its name":
        return home / f"two\nlines{suffix}"
    if kind == "below a file":
        (home / "file").write_text("a file")
        return home / "file" / f"x{suffix}"
    return home / f"broken{suffix}"


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in BROKEN]
)
@pytest.mark.parametrize("line", INPUTS)
def test_a_broken_input_is_one_line(
    line: str,
    kind: str,
    sound: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *words = line.split()
    (tmp_path / "input").mkdir()
    argv = []
    for word in words:
        root, slash, rest = word.partition("/")
        if root == "O":
            argv.append(str(tmp_path / "output"))
        elif root.removeprefix("ascend:").startswith("X"):
            prefix, _, name = root.rpartition("X")
            place = _place(tmp_path / "input", kind, name)
            if not (place.is_symlink() or place.exists() if kind != "long name" else True):
                BROKEN[kind](place)
            argv.append(f"{prefix}{place}{slash}{rest}")
        else:
            argv.append(sound.get(root, root) + slash + rest)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    code = importlib.import_module(COMMANDS[command][0]).main(argv)
    lines = [text for text in capfd.readouterr().err.splitlines() if text.strip()]
    if (line, kind) in SOUND:
        assert code == 0
        return
    assert code in (1, 2), lines
    assert not any("Traceback" in text for text in lines)
    # A command that runs another one says so after the other's own line.
    errors = [text for text in lines if text.startswith("error: ")]
    assert 1 <= len(errors) <= 2, lines
    assert max(map(len, errors)) < 2000
