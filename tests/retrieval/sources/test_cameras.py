from pathlib import Path

import pytest

from retrieval.gallery.entries import Camera
from retrieval.sources.cameras import find_cameras
from zoo.errors import UserError


def test_found_beside_the_images_or_above(tmp_path: Path) -> None:
    images = tmp_path / "image_test"
    images.mkdir()
    assert find_cameras(images) == []
    (tmp_path / "cameras.json").write_text('{"fps": 25, "cameras": [{"id": 1, "heading": 3}]}')
    assert find_cameras(images) == [Camera(1, "camera 1")]
    # With the byte order mark that some editors write.
    (images / "cameras.json").write_text(
        '\ufeff[{"id": 2, "name": "北门", "latitude": -1.5, "longitude": 170}]', encoding="utf-8"
    )
    assert find_cameras(images) == [Camera(2, "北门", -1.5, 170)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON that can be read"),
        ("[" * 100_000, "not JSON that can be read"),
        ('[{"id": true}]', "camera 1 has no whole number"),
        ("3", "a list of cameras is expected"),
        ('[{"id": 1, "lat": 48.1, "lon": 11.5}]', "camera 1 has a field 'l(at|on)'; did you mean 'l"),
        ('[{"id": 1, "Name": "gate"}]', "camera 1 has a field 'Name'; did you mean 'name'"),
        ('[{"id": "x"}]', "camera 1 has no whole number"),
        ('[{"id": 1}, {"id": 2, "latitude": 91, "longitude": 0}]', "camera 2 stands at"),
        ('[{"id": 1, "latitude": 9}]', "camera 1 stands at"),
        ('[{"id": 1, "latitude": NaN, "longitude": 0}]', "camera 1 stands at"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "cameras.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        find_cameras(tmp_path)
    assert "cameras.json" in str(caught.value)
