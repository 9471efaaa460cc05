"""Ingest of what is neither a folder nor CSV: Parquet, a stream of lines, a video, and a detector's boxes."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.sources.manifest import read_manifest
from retrieval.sources.video import Shot, read_video
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.sources.detectors import CELLS, write_constant_detector, write_detector
from tests.retrieval.test_ingest import run
from zoo.errors import UserError

FPS = 10


def test_parquet_says_what_csv_says(tmp_path: Path, bundle: Path, capsys) -> None:
    for vehicle in (1, 2, 3):
        draw_vehicle(vehicle, 1).save(tmp_path / f"{vehicle}.jpg")
    columns = {
        "image": ["1.jpg", "2.jpg", "3.jpg"],
        "camera": [4.0, None, float("nan")],
        "vehicle": [1, 2, None],
        "time": [datetime(2024, 5, 1, 8, 5, tzinfo=UTC), None, datetime(2024, 5, 1, tzinfo=UTC)],
        "left": [0, None, None],
        "top": [0, None, None],
        "right": [48, None, None],
        "bottom": [96, None, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    (tmp_path / "table.csv").write_text(
        "image,camera,vehicle,time,left,top,right,bottom\n"
        "1.jpg,4,1,2024-05-01T08:05:00+00:00,0,0,48,96\n2.jpg,,2,,,,,\n3.jpg,,,2024-05-01T00:00:00+00:00,,,,\n"
    )
    assert read_manifest(tmp_path / "table.parquet") == read_manifest(tmp_path / "table.csv")
    arguments = ("--gallery", tmp_path / "g", "--encoder", bundle)
    code, summary, _ = run(capsys, "--manifest", tmp_path / "table.parquet", *arguments)
    assert (code, summary["added"]) == (0, 3)
    code, summary, _ = run(capsys, "--manifest", tmp_path / "table.csv", *arguments)
    assert (code, summary["known"]) == (0, 3)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"]}, "'path' is none of them"),
        ({"image": ["a", "b"], "camera": ["1", "two"]}, r"row 2: camera is 'two'"),
        ({"image": ["a", "a"]}, "row 2: the key 'a' comes twice"),
        (None, "cannot be read as Parquet"),
    ],
)
def test_parquet_faults_are_told_with_their_row(tmp_path: Path, columns: dict | None, message: str) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1") if columns is None else pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=message):
        read_manifest(path)


def test_missing_extras_are_named(run_python, tmp_path: Path) -> None:
    for module, given in (("pyarrow", "--manifest', 'a.parquet"), ("av", "--video', 'a.mp4")):
        result = run_python(
            f"import sys; sys.modules[{module!r}] = None; from retrieval.ingest import main; "
            f"sys.exit(main(['{given}', '--gallery', {str(tmp_path / 'g')!r}]))"
        )
        assert result.returncode == 2
        assert "comes with the extra" in result.stderr, result.stderr


def test_lines_of_another_program(tmp_path: Path, bundle: Path, capsys, monkeypatch) -> None:
    for vehicle in (1, 2):
        draw_vehicle(vehicle, 1).save(tmp_path / f"{vehicle} a.jpg")
    lines = [
        "1 a.jpg",
        "",
        json.dumps({"image": "2 a.jpg", "key": "two", "camera": 3, "time": "8:05", "latitude": None}),
        json.dumps({"image": "2 a.jpg", "camera": 2.5}),
        '{"image": "2 a.jpg"',
        json.dumps({"image": "2 a.jpg", "colour": "red"}),
        json.dumps({"image": ["2 a.jpg"]}),
        "missing.jpg",
    ]
    monkeypatch.chdir(tmp_path)
    arguments = ("--stdin", "--gallery", "g", "--encoder", bundle)
    for added in (2, 0):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
        code, summary, _ = run(capsys, *arguments)
        assert (code, summary["found"], summary["added"], summary["known"]) == (0, 7, added, 2 - added)
    bad = json.loads(Path("g/ingest-report.json").read_text())["bad"]
    assert sorted(bad) == ["line 4", "line 5", "line 6", "line 7", "missing.jpg"]
    said = (
        "line 4: camera is '2.5'; a whole number is expected. Number ids that are text, e.g. by their order"
    )
    assert bad["line 4"] == said
    with open_gallery("g") as gallery:
        entry = gallery.get("two")
        assert entry is not None
        assert (entry.camera, entry.time, entry.latitude) == (3, 8 * 3600 + 300, None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(capsys, *arguments)[0] == 2


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds: a red vehicle, a dark road, a red vehicle elsewhere; lossless."""
    path = tmp_path_factory.mktemp("film") / "north gate.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), FPS, (320, 160))
    assert writer.isOpened()
    for second in range(3):
        scene = Image.new("RGB", (320, 160), "black")
        if second != 1:
            scene.paste(draw_vehicle(1, 1), (32 + 64 * second, 32))
        for _ in range(FPS):
            writer.write(cv2.cvtColor(np.asarray(scene), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_frames_go_in_at_a_rate(tmp_path: Path, film: Path, bundle: Path, encoder: Encoder, capsys) -> None:
    arguments = ("--video", film, "--gallery", tmp_path / "g", "--encoder", bundle)
    options = ("--rate", 2, "--camera", 7, "--start", "8:00")
    code, summary, _ = run(capsys, *arguments, *options)
    # For the dark second the small model gives zeros, which no gallery takes.
    assert (code, summary["found"], summary["added"], summary["bad"]) == (0, 6, 4, 2)
    with open_gallery(tmp_path / "g") as gallery:
        assert sorted(gallery.rank(np.zeros(48, np.float32))) == sorted(
            f"north gate.avi#{half / 2:.3f}s" for half in (0, 1, 4, 5)
        )
        entry = gallery.get("north gate.avi#2.500s")
        assert entry is not None
        assert (entry.camera, entry.time) == (7, 8 * 3600 + 2.5)
    code, summary, _ = run(capsys, *arguments, *options)
    assert (summary["known"], summary["added"]) == (4, 0)


def test_boxes_of_a_detector_go_in(
    tmp_path: Path, film: Path, bundle: Path, encoder: Encoder, capsys
) -> None:
    """The brighter of two boxes of one vehicle; nothing of the dark second."""
    detector = write_detector(tmp_path / "detector.onnx")
    arguments = ("--video", film, "--gallery", tmp_path / "g", "--encoder", bundle)
    options = ("--detector", detector, "--detector-classes", "1", "--per", "image")
    code, summary, _ = run(capsys, *arguments, *options)
    # The other one is black, for which the small model gives zeros.
    assert (code, summary["found"], summary["added"], summary["bad"]) == (0, 2, 1, 1)
    alone = io.BytesIO()
    draw_vehicle(1, 1).save(alone, "PNG")
    with open_gallery(tmp_path / "g") as gallery:
        (hit,) = gallery.search(encoder.encode([alone.getvalue()]).embedding[0])
        assert (hit.key, hit.distance) == ("north gate.avi#0.000s/32,32,128,128", 0)
        entry = gallery.get(hit.key)
        assert entry is not None
        assert (entry.box, entry.time) == ((32, 32, 128, 128), 0)
    code, summary, _ = run(capsys, *arguments, *options)
    assert (summary["known"], summary["added"]) == (1, 0)


def test_a_pass_is_one_entry(tmp_path: Path, film: Path, bundle: Path, encoder: Encoder, capsys) -> None:
    """The vehicle is hidden for a second between, which is not long enough to be another pass."""
    detector = write_detector(tmp_path / "detector.onnx")
    options = ("--video", film, "--detector", detector, "--detector-classes", "1", "--camera", 4)
    code, summary, _ = run(capsys, *options, "--gallery", tmp_path / "g", "--encoder", bundle)
    assert (code, summary["found"], summary["added"]) == (0, 1, 1)
    with open_gallery(tmp_path / "g") as gallery:
        entry = gallery.get("north gate.avi#pass-0.000s/32,32,128,128")
    assert entry is not None
    assert (entry.camera, entry.box, entry.time) == (4, (32, 32, 128, 128), 0)
    assert entry.track_id is not None
    assert entry.track_id < 2**53
    assert "the best of 10 boxes" in entry.source
    code, summary, _ = run(capsys, *options, "--gallery", tmp_path / "g")
    assert (summary["known"], summary["added"]) == (1, 0)


def test_damaged_video_keeps_what_came_before(tmp_path: Path, film: Path) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    sources = list(read_video(cut, Shot(rate=100)))
    assert 3 < len(sources) < 30
    with pytest.raises(Exception, match="cut short"):
        sources[-1].load()
    assert sources[0].load().image.pixels.any()


def test_user_faults(tmp_path: Path, film: Path, bundle: Path, capsys) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    detector = write_constant_detector(tmp_path / "detector.onnx", np.zeros((1, 6, CELLS)))
    arguments = ["--gallery", tmp_path / "g", "--encoder", bundle]
    for given, message in (
        (("--video", text), "not a video that can be read"),
        (("--video", tmp_path / "none.mp4"), "not a video that can be read"),
        (("--video", film, "--rate", "0"), "--rate has to be more than 0"),
        (("--video", film, "--detector", tmp_path / "none.onnx"), "no such detector"),
        (("--video", film, "--detector", text), "not an ONNX model"),
        (
            ("--video", film, "--detector", bundle / "model.onnx"),
            "not a detector of a form",
        ),
        (("--video", film, "--detector", "yolox-nan"), "no such detector"),
        (
            ("--video", film, "--detector", detector, "--detector-confidence", 1),
            "finds no vehicle in it; try",
        ),
    ):
        code, _, stderr = run(capsys, *given, *arguments)
        assert (code, message in stderr) == (2, True), stderr
