"""A small real bundle, small pictures of vehicles, and a gallery of them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Camera
from retrieval.ingest import main as ingest
from serving.encoders.encoder import Encoder, open_encoder
from tests.retrieval.running_app import running_app
from tests.retrieval.small_model import PALETTE, write_bundle
from tests.zoo.test_sameness import CALIBRATION
from zoo.card import Card

VEHICLES = {1: "red", 2: "blue", 3: "white", 4: "black", 5: "green", 6: "yellow"}
CAMERAS = 4


def name(vehicle: int, camera: int) -> str:
    """Of a picture, as VeRi names them; a gallery's key."""
    return f"{vehicle:04}_c{camera:03}_{vehicle * 1000 + camera * 250:08}_0.jpg"


def draw_vehicle(vehicle: int, camera: int, size: int = 96) -> Image.Image:
    """A side view in the vehicle's colour with a mark of its own, lit a little differently by each camera."""
    color = PALETTE[VEHICLES[vehicle]]
    image = Image.new("RGB", (size, size), color)
    draw = ImageDraw.Draw(image)
    draw.ellipse((size * 0.15, size * 0.7, size * 0.35, size * 0.9), fill="#202020")
    draw.ellipse((size * 0.65, size * 0.7, size * 0.85, size * 0.9), fill="#202020")
    mark = size * (0.1 + 0.12 * vehicle)
    draw.rectangle((mark, size * 0.35, mark + size * 0.12, size * 0.5), fill="#e0e0e0")
    light = 0.9 + 0.05 * camera
    return Image.fromarray(np.clip(np.asarray(image) * light, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="session")
def calibrated(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the filled gallery, calibrated after that was filled: the model's hash is the same."""
    folder = tmp_path_factory.mktemp("calibrated") / "bundle"
    shutil.copytree(bundle, folder)
    card = Card.read(folder / "card.json")
    made = replace(CALIBRATION, weights_sha256=card.weights_sha256)
    card.replace(sameness=made.as_json()).write(folder / "card.json")
    return folder


@pytest.fixture(scope="session")
def weighed(calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The calibrated bundle; looks are worth so much that they decide."""
    folder = tmp_path_factory.mktemp("weighed") / "bundle"
    shutil.copytree(calibrated, folder)
    card = Card.read(folder / "card.json")
    card.replace(sameness=card.sameness | {"looks": [5.0, 5.0]}).write(folder / "card.json")
    return folder


@pytest.fixture(scope="session")
def encoder(bundle: Path) -> Iterator[Encoder]:
    opened = open_encoder(str(bundle), threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`image_test/` with every vehicle at every camera, `image_query/` with one picture of each."""
    root = tmp_path_factory.mktemp("data")
    for folder, cameras in (("image_test", range(1, CAMERAS + 1)), ("image_query", range(1, 2))):
        (root / folder).mkdir()
        for vehicle in VEHICLES:
            for camera in cameras:
                draw_vehicle(vehicle, camera).save(root / folder / name(vehicle, camera), quality=92)
    (root / "cameras.json").write_text(
        '[{"id": 1, "name": "North gate", "latitude": 48.1, "longitude": 11.5}, {"id": 2, "name": "桥 <b>"}]',
        encoding="utf-8",
    )
    return root


@pytest.fixture(scope="session")
def gallery_folder(tmp_path_factory: pytest.TempPathFactory, images: Path, bundle: Path) -> Path:
    """A filled gallery, for tests that only read it."""
    folder = tmp_path_factory.mktemp("filled") / "gallery"
    arguments = ["--images", str(images / "image_test"), "--gallery", str(folder), "--encoder", str(bundle)]
    assert ingest(arguments) == 0
    return folder


@pytest.fixture
def placed_folder(gallery_folder: Path, tmp_path: Path) -> Path:
    """A copy to write to: six vehicles that come to four cameras, ten seconds and half a kilometre apart."""
    copy = shutil.copytree(gallery_folder, tmp_path / "gallery")
    with open_gallery(copy, writable=True) as gallery:
        gallery.set_cameras(Camera(n, f"Gate {n}", 48.0 + 0.0045 * n, 11.5) for n in range(1, 5))
    return copy


@pytest.fixture(scope="session")
def service_url(gallery_folder: Path, images: Path) -> Iterator[str]:
    """A running service that reads the filled gallery: page and REST, with example images, without keys."""
    with running_app("--gallery", gallery_folder, "--examples", images / "image_query") as address:
        yield address


@pytest.fixture(scope="session")
def service(service_url: str) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=service_url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def query(images: Path) -> bytes:
    return (images / "image_query" / "0003_c001_00003250_0.jpg").read_bytes()
