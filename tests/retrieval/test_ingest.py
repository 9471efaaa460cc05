"""Ingest: what it takes, what it lists as bad, and that doing it again does nothing."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import GalleryModel
from retrieval.ingest import main
from retrieval.sources.source import PICTURE_SIZE, ImageFile, display_picture
from serving.encoders.encoder import Encoder
from tests import ctrl_c
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.small_model import write_bundle


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict, str]:
    """Run the command; return its exit code, the JSON of the last line, and stderr."""
    capsys.readouterr()
    code = main([*map(str, arguments), "--json"])
    output = capsys.readouterr()
    lines = output.out.splitlines()
    return code, json.loads(lines[-1]) if lines else {}, output.err


def test_names_cameras_and_pictures_are_kept(gallery_folder: Path, images: Path, encoder: Encoder) -> None:
    with open_gallery(gallery_folder) as gallery:
        assert len(gallery) == 24
        name = "0003_c002_00003500_0.jpg"
        data = (images / "image_test" / name).read_bytes()
        hit = gallery.search(encoder.encode([data]).embedding[0], 1)[0]
        assert (hit.key, hit.vehicle_id, hit.camera, hit.time) == (name, 3, 2, 3500 / 25)
        assert (hit.distance, hit.score, hit.color) == (0, 1, "white")
        assert [camera.name for camera in gallery.cameras()] == [
            "North gate",
            "桥 <b>",
            "camera 3",
            "camera 4",
        ]
        picture = Image.open(io.BytesIO(gallery.picture(name) or b""))
        assert (picture.format, picture.size) == ("JPEG", (96, 96))


def test_faults_are_listed_and_skipped(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "bilder mit Leerzeichen" / "车辆"
    folder.mkdir(parents=True)
    vehicle = draw_vehicle(1, 1)
    vehicle.save(folder / "白色 轿车.jpg")
    vehicle.convert("CMYK").save(folder / "cmyk.jpg")
    vehicle.convert("P").save(folder / "palette.png")
    gray = np.asarray(vehicle.convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(folder / "sixteen bits.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    vehicle.resize((60, 30)).save(folder / "turned.jpg", exif=exif)
    vehicle.resize((900, 450)).save(folder / "wide.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not an image")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    (folder / "cut.jpg").write_bytes((folder / "白色 轿车.jpg").read_bytes()[:900])
    (folder / "notes.txt").write_text("no image, no fault")
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    gallery = tmp_path / "gallery"
    arguments = ("--images", folder.parent, "--gallery", gallery)
    code, summary, stderr = run(capsys, *arguments, "--encoder", bundle)
    assert code == 0
    assert (summary["found"], summary["added"], summary["bad"], summary["size"]) == (11, 6, 5, 6)
    report = json.loads((gallery / "ingest-report.json").read_text(encoding="utf-8"))
    bad = ["cut.jpg", "dangling.jpg", "empty.jpg", "huge.png", "text.jpg"]
    assert sorted(report["bad"]) == [f"车辆/{name}" for name in bad]
    for key, reason in report["bad"].items():
        assert key in reason
        assert reason in stderr
    with open_gallery(gallery) as opened:
        keys = {hit.key for hit in opened.search(np.zeros(48, np.float32), 0)}
        good = ("白色 轿车.jpg", "cmyk.jpg", "palette.png", "sixteen bits.png", "turned.jpg", "wide.png")
        assert keys == {f"车辆/{name}" for name in good}
        picture = Image.open(io.BytesIO(opened.picture("车辆/wide.png") or b""))
        assert picture.size == (PICTURE_SIZE, PICTURE_SIZE // 2)
        assert Image.open(io.BytesIO(opened.picture("车辆/turned.jpg") or b"")).size == (30, 60)
    # Again, without naming the encoder: nothing is encoded, the bad ones are still told.
    code, summary, _ = run(capsys, *arguments)
    assert (code, summary["added"], summary["known"], summary["bad"]) == (0, 0, 6, 5)
    # A file that changed under its name is encoded again, a mended one is added.
    draw_vehicle(4, 1).save(folder / "cmyk.jpg")
    shutil.copy(folder / "cmyk.jpg", folder / "empty.jpg")
    code, summary, _ = run(capsys, *arguments)
    assert (code, summary["added"], summary["known"], summary["bad"], summary["size"]) == (0, 2, 5, 4, 7)


def test_name_that_is_no_text_is_listed(tmp_path: Path, bundle: Path, capsys) -> None:
    draw_vehicle(1, 1).save(tmp_path / "good.jpg")
    bad = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    shutil.copy(tmp_path / "good.jpg", bad)
    code, summary, stderr = run(
        capsys, "--images", tmp_path, "--gallery", tmp_path / "g", "--encoder", bundle
    )
    assert (code, summary["added"], summary["bad"]) == (0, 1, 1)
    assert "rename the file" in stderr


def test_all_bad_is_a_failure(tmp_path: Path, bundle: Path, capsys) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    code, summary, stderr = run(
        capsys, "--images", tmp_path, "--gallery", tmp_path / "g", "--encoder", bundle
    )
    assert (code, summary["added"]) == (2, 0)
    assert "none of the 1 images can be used" in stderr


def test_user_faults(tmp_path: Path, images: Path, bundle: Path, gallery_folder: Path, capsys) -> None:
    def error(*arguments: object) -> str:
        assert main([*map(str, arguments)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    pictures = images / "image_test"
    new = tmp_path / "g"
    assert "no such folder" in error("--images", tmp_path / "x", "--gallery", new, "--encoder", bundle)
    assert "no images found" in error("--images", tmp_path, "--gallery", new, "--encoder", bundle)
    assert "no such folder; mend the path, or name a new gallery's encoder with --encoder" in error(
        "--images", pictures, "--gallery", new
    )
    assert "no bundle there" in error("--images", pictures, "--gallery", new, "--encoder", tmp_path / "b")
    assert "--fps 0" in error("--images", pictures, "--gallery", new, "--encoder", bundle, "--fps", 0)
    assert not new.exists()
    other = write_bundle(tmp_path / "other", gain=3)
    message = error("--images", pictures, "--gallery", gallery_folder, "--encoder", other)
    assert "cannot be compared" in message
    assert str(bundle) in message


def test_second_writer_is_refused(
    tmp_path: Path, images: Path, bundle: Path, encoder: Encoder, capsys
) -> None:
    model = GalleryModel(encoder.card, encoder.model_hash, str(bundle))
    with open_gallery(tmp_path / "g", model=model, writable=True):
        assert main(["--images", str(images / "image_test"), "--gallery", str(tmp_path / "g")]) == 2
    assert "is writing to this gallery" in capsys.readouterr().err


def test_interrupted_ingest_goes_on(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(300):
        draw_vehicle(number % 6 + 1, number % 4 + 1, size=48).save(folder / f"{number:03}.jpg")
    arguments = ["--images", folder, "--gallery", tmp_path / "g", "--encoder", bundle, "--batch-size", 4]
    command = [sys.executable, "-m", "retrieval.ingest", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    count = 0
    while count == 0 and process.poll() is None and time.monotonic() < deadline:
        try:
            with open_gallery(tmp_path / "g") as gallery:
                count = len(gallery)
        except Exception:
            time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_gallery(tmp_path / "g") as gallery:
        count = len(gallery)
    assert 0 < count < 300
    code, summary, _ = run(capsys, *arguments)
    assert (code, summary["known"], summary["added"], summary["size"]) == (0, count, 300 - count, 300)


def test_interrupted_command_says_so_in_one_word(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(400):
        draw_vehicle(number % 6 + 1, number % 4 + 1, size=48).save(folder / f"{number:03}.jpg")
    arguments = ["--images", folder, "--gallery", tmp_path / "g", "--encoder", bundle, "--batch-size", 2]
    process = ctrl_c.start("retrieval.ingest", *arguments)
    deadline = time.monotonic() + 60
    while not (tmp_path / "g" / "gallery.sqlite-wal").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    code, stderr = ctrl_c.press(process)
    assert code == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "interrupted"
    assert not (tmp_path / "g" / "ingest-report.json").exists()


@pytest.mark.parametrize("limit", [1, 3_000, 60_000])
def test_full_disk(tmp_path: Path, images: Path, bundle: Path, capsys, limit: int) -> None:
    """A limit on the file size stands in for the full disk: the kernel refuses the same write."""
    gallery = tmp_path / "g"
    arguments = ["--images", images / "image_test", "--gallery", gallery, "--encoder", bundle]
    command = [sys.executable, "-m", "retrieval.ingest", *map(str, arguments), "--batch-size", "4"]

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=full)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {gallery / 'gallery.sqlite'}: ")
    assert "Free some space" in last
    # What was acknowledged is whole, and with space the ingest goes on.
    code, summary, _ = run(capsys, *arguments)
    assert (code, summary["known"] + summary["added"], summary["size"]) == (0, 24, 24)


def test_small_jpeg_is_its_own_picture_and_says_nothing_of_its_maker(tmp_path: Path) -> None:
    image = draw_vehicle(1, 1)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    image.save(tmp_path / "plain.jpg")
    image.save(tmp_path / "exif.jpg", exif=exif)
    image.save(tmp_path / "comment.jpg", comment=b"secret")
    image.convert("L").save(tmp_path / "gray.jpg")
    image.resize((400, 400)).save(tmp_path / "large.jpg")
    for path in tmp_path.iterdir():
        picture = display_picture(ImageFile(path, path.name).load().image)
        assert (picture == path.read_bytes()) is (path.name == "plain.jpg")
        shown = Image.open(io.BytesIO(picture))
        assert (shown.format, shown.mode, max(shown.size) <= PICTURE_SIZE) == ("JPEG", "RGB", True)
        assert b"maker" not in picture
        assert b"secret" not in picture
