"""Ingest of a CSV table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.ingest import main
from retrieval.sources.manifest import read_manifest
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.test_ingest import run
from zoo.errors import UserError

HEADER = "image,key,camera,time,latitude,longitude,vehicle,track,left,top,right,bottom\n"


def test_boxes_and_facts_go_in(tmp_path: Path, bundle: Path, encoder: Encoder, capsys) -> None:
    scene = Image.new("RGB", (300, 120), "gray")
    scene.paste(draw_vehicle(1, 1), (10, 12))
    scene.paste(draw_vehicle(2, 1), (150, 20))
    scene.save(tmp_path / "scene.png")
    draw_vehicle(3, 1).save(tmp_path / "whole.png")
    table = tmp_path / "table.csv"
    lines = [
        "scene.png,,7,8:05,48.1,11.5,1,4,10,12,106,108",
        "scene.png,second,7,,,,,,150,20,246,116",
        "whole.png" + "," * 11,
        "missing.png" + "," * 11,
        "whole.png,outside,,,,,,,900,0,910,10",
    ]
    table.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    arguments = ("--manifest", table, "--gallery", tmp_path / "g", "--encoder", bundle)
    code, summary, stderr = run(capsys, *arguments)
    assert (code, summary["found"], summary["added"], summary["bad"]) == (0, 5, 3, 2)
    assert "missing.png: cannot be read" in stderr
    assert "holds nothing of the 96x96 pixels" in stderr
    with open_gallery(tmp_path / "g") as gallery:
        first = gallery.get("scene.png#10,12,106,108")
        assert first is not None
        assert (first.vehicle_id, first.track_id, first.camera, first.time) == (1, 4, 7, 8 * 3600 + 300)
        assert (first.latitude, first.longitude, first.box) == (48.1, 11.5, (10, 12, 106, 108))
        draw_vehicle(1, 1).save(tmp_path / "alone.png")
        (expected,) = encoder.encode([(tmp_path / "alone.png").read_bytes()]).embedding
        assert np.array_equal(first.embedding, expected)
    code, summary, _ = run(capsys, *arguments)
    assert (summary["added"], summary["known"]) == (0, 3)
    table.write_text(table.read_text().replace("second,7", "second,8"))
    code, summary, _ = run(capsys, *arguments)
    assert (summary["added"], summary["known"], summary["size"]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path\na.jpg\n", "'path' is none of them"),
        ("image,camera\na.jpg,two\n", "line 2: camera is 'two'"),
        ("image,camera\na.jpg,2.5\n", "whole number"),
        ("image,vehicle\na.jpg,A12\n", "vehicle is 'A12'; a whole number.*Number ids that are text"),
        ("image,vehicle\na.jpg,9223372036854775808\n", "a whole number is expected"),
        ("image,camra\na.jpg,2\n", "'camra' is none of them, did you mean camera"),
        ("image,camera,camera\na.jpg,2,3\n", "'camera' comes twice"),
        ("image,time\na.jpg,noon\n", "line 2: 'noon' is not a time"),
        ("image,latitude\na.jpg,5\n", "both or neither"),
        ("image,left\na.jpg,5\n", "all of them"),
        ("image\na.jpg\na.jpg\n", "line 3: the key 'a.jpg' comes twice"),
        ("image\na.jpg,b\n", "more values than columns"),
        ("image\n", "no images in it"),
        ('image\n"a.jpg\n', "unexpected end of data"),
        ("image\na\0.jpg\n", "line 2: a NUL byte"),
        ("image,camera\na.jpg,1_0\n", "line 2: camera is '1_0'"),
        ("image,vehicle\na.jpg,٣\n", "line 2: vehicle is '٣'"),
        ("image,latitude,longitude\na.jpg,4_8,11\n", "line 2: latitude is '4_8'"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_manifest(path)


def test_long_numbers_are_not_taken_for_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("image,vehicle,camera\na.jpg,9007199254740993,5.0\n")
    (found,) = read_manifest(path)
    assert (found.facts.vehicle_id, found.facts.camera) == (2**53 + 1, 5)


def test_folder_and_table_exclude_each_other(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--images", "a", "--manifest", "b", "--gallery", "g"])
    assert "not allowed with" in capsys.readouterr().err
