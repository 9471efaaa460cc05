"""A folder of images becomes one file, whatever encodes it."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.bundle import Bundle
from serving.encode import encode_files, main
from serving.encoders.encoder import open_encoder
from serving.server.server import TritonServer
from tests.serving.conftest import make_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    (images / "below").mkdir(parents=True)
    for seed in range(7):
        (images / ("below" if seed % 2 else "") / f"{seed}.jpg").write_bytes(make_image(seed))
    (images / "3a.jpg").write_bytes(b"not an image")
    (images / "gone.jpg").symlink_to("nowhere")
    (images / "notes.txt").write_text("no image")
    return images


@pytest.mark.parametrize("served", [False, True])
def test_rows_are_those_of_their_images(
    served: bool, folder: Path, bundle: Bundle, server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "vectors.npz"
    spec = f"triton:http://{server.http}" if served else str(bundle.path)
    command = ["--images", str(folder), "--encoder", spec, "--out", str(out), "--batch-size", "2"]
    assert main([*command, "--threads", "1", "--json"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out.splitlines()[-1])
    assert (summary["encoded"], summary["bad"]) == (7, 2)
    assert "skipped: 3a.jpg: image: not a JPEG" in printed.err
    assert "skipped: gone.jpg: cannot be read (No such file" in printed.err
    assert "9/9" in printed.err
    found = np.load(out, allow_pickle=False)
    assert found["model_hash"] == bundle.model_hash
    encoder = open_encoder(str(bundle.path), threads=1)
    expected = encoder.encode([(folder / name).read_bytes() for name in found["names"]])
    encoder.close()
    assert len(set(found["names"])) == 7
    for name in ("embedding", "color_probs", "type_probs"):
        np.testing.assert_allclose(found[name], getattr(expected, name), rtol=0, atol=1e-5)


def test_progress_counts_every_image_once(folder: Path, bundle: Bundle) -> None:
    encoder = open_encoder(str(bundle.path), threads=1)
    files = sorted(folder.rglob("*.jpg"))
    steps: list[int] = []
    result = encode_files(files, encoder, batch_size=4, advance=steps.append)
    encoder.close()
    assert steps == [4, 4, 1]
    assert len(result.errors) == 2


def test_nothing_to_encode_is_refused(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--encoder", str(bundle.path), "--out", str(tmp_path / "out.npz"), "--images"]
    assert main([*command, str(tmp_path / "missing")]) == 2
    assert main([*command, str(tmp_path)]) == 2
    (tmp_path / "a.jpg").write_bytes(b"no")
    assert main([*command, str(tmp_path), "--threads", "1"]) == 2
    errors = capsys.readouterr().err
    for expected in ("no folder there", "holds no images", "none of the 1 images can be used"):
        assert expected in errors
    assert not (tmp_path / "out.npz").exists()
