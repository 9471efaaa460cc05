"""Whole scenes over REST: the file that an image was made of, while it is there and the same."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.ingest import main as ingest
from retrieval.service.scenes import add_scene_route
from retrieval.sources.originals import Originals
from tests.retrieval.conftest import draw_vehicle
from zoo.errors import UserError

BOX = (250, 100, 346, 196)


def test_a_scene_is_shown_while_its_file_is_there(bundle: Path, tmp_path: Path) -> None:
    folder, gallery_folder = tmp_path / "pictures", tmp_path / "gallery"
    folder.mkdir()
    scene = Image.new("RGB", (4000, 3000), "gray")
    scene.paste(draw_vehicle(2, 1), BOX[:2])
    scene.save(folder / "yard.jpg")
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "key", "left", "top", "right", "bottom"])
        table.writerow(["yard.jpg", "a/b c", *BOX])
    arguments = ["--manifest", folder / "table.csv", "--gallery", gallery_folder, "--encoder", bundle]
    assert ingest(list(map(str, arguments))) == 0
    moved = folder.rename(tmp_path / "moved")
    with open_gallery(gallery_folder) as gallery:

        def client(originals: Originals | None) -> TestClient:
            app, router = FastAPI(), APIRouter(prefix="/api")
            add_scene_route(router, gallery, originals)
            app.include_router(router)
            return TestClient(app)

        def shown(query: str = "") -> np.ndarray:
            answer = client(Originals(moved)).get(f"/api/scenes/a/b%20c{query}")
            assert answer.headers["content-type"] == "image/jpeg"
            return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)

        plain, framed = shown(), shown("?frame=true")
        assert plain.shape == framed.shape == (1440, 1920, 3)
        # The frame is around the box, in pixels of what is shown.
        changed = np.argwhere(np.abs(plain - framed).max(axis=2) > 60)
        assert changed.min(axis=0) == pytest.approx([100 * 0.48, 250 * 0.48], abs=7)
        assert changed.max(axis=0) == pytest.approx([196 * 0.48, 346 * 0.48], abs=7)
        assert client(None).get("/api/scenes/a/b%20c").status_code == 404
        assert client(Originals(moved)).get("/api/scenes/none").status_code == 404
        draw_vehicle(3, 1).save(moved / "yard.jpg")
        assert client(Originals(moved)).get("/api/scenes/a/b%20c").status_code == 404
    with pytest.raises(UserError, match="no such folder"):
        Originals(folder)
