"""A gallery moved to another model: from files, from kept pictures, resumed, and followed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.cases.case import Case, CaseImage, SavedSearch, new_id
from retrieval.cases.store import CaseStore
from retrieval.galleries import open_gallery
from retrieval.ingest import main as ingest
from retrieval.journeys.store import LinkStore
from retrieval.maintenance import main
from retrieval.sources.source import display_picture
from retrieval.transfer import main as transfer
from serving.encoders.encoder import open_encoder
from serving.encoders.image import InputImage
from tests.retrieval.conftest import draw_vehicle, name
from tests.retrieval.small_model import write_bundle


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("other") / "bundle", gain=5.0, metric="cosine")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Pictures that the gallery keeps smaller than they are, one of them a scene with two boxes."""
    folder = tmp_path / "data" / "large"
    folder.mkdir(parents=True)
    for vehicle in (1, 2, 3):
        draw_vehicle(vehicle, 1, 640).save(folder / f"{vehicle}.png")
    rows = ["image,key,camera,left,top,right,bottom", "1.png,,4,,,,", "2.png,,,,,,"]
    rows += ["3.png,a,,10,10,500,600.5", "3.png,b,,-5,20,640,640"]
    (folder / "table.csv").write_text("\n".join(rows))
    return folder


def reembed(*arguments: object, code: int = 0) -> None:
    assert main(["reembed", *map(str, arguments)]) == code


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    content: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return content


def counts(content: dict[str, object]) -> tuple[object, ...]:
    return tuple(content[name] for name in ("from_originals", "from_pictures", "known", "removed"))


def test_originals_give_what_an_ingest_gives(
    tmp_path: Path, large: Path, bundle: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    table = ["--manifest", str(large / "table.csv"), "--gallery"]
    assert ingest([*table, str(old), "--encoder", str(bundle)]) == 0
    # The files are elsewhere by now, and one is another.
    moved = tmp_path / "moved"
    shutil.move(large, moved)
    draw_vehicle(5, 1, 640).save(moved / "2.png")
    reembed("--gallery", old, "--to", new, "--encoder", other, "--originals", moved, "--json")
    assert counts(summary(capsys)) == (3, 1, 0, 0)
    draw_vehicle(2, 1, 640).save(moved / "2.png")
    assert ingest(["--manifest", str(moved / "table.csv"), "--gallery", str(tmp_path / "fresh"),
                   "--encoder", str(other)]) == 0  # fmt: skip
    with open_gallery(new) as gallery, open_gallery(tmp_path / "fresh") as fresh:
        keys = ["1.png", "a", "b"]
        assert np.array_equal(gallery.embeddings(keys), fresh.embeddings(keys))
        assert gallery.model.card.metric == "cosine"
        for key in keys:
            mine, theirs = gallery.get(key), fresh.get(key)
            assert mine is not None and theirs is not None
            assert mine.facts == theirs.facts
            assert np.array_equal(mine.color_probs, theirs.color_probs)
            assert (mine.picture, mine.digest) == (theirs.picture, theirs.digest)
        kept = InputImage(display_picture(InputImage.open(moved / "2.png")))
        with_other = open_encoder(str(other)).encode([kept]).embedding[0]
        expected = with_other / np.linalg.norm(with_other)
        assert np.allclose(gallery.embeddings(["2.png"])[0], expected, atol=1e-6)


def test_it_goes_on_and_follows(
    tmp_path: Path, gallery_folder: Path, bundle: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(gallery_folder, old)
    reembed("--gallery", old, "--to", new, code=2)
    assert "name a new gallery's encoder with --encoder" in capsys.readouterr().err
    reembed("--gallery", old, "--to", old, "--encoder", other, code=2)
    cases, links = CaseStore(old), LinkStore(old)
    made = Case(new_id(), "Red", (CaseImage("", b"picture"),), search=SavedSearch("red", k=7))
    case = cases.put(made, "ann")
    (old / "cases" / f"{'0' * 32}.json").write_text("{}")
    first, second, third = name(1, 1), name(1, 2), name(1, 3)
    links.mark(first, second, "confirmed", "ann")
    links.mark(first, third, "cut", "ann")
    reembed("--gallery", old, "--to", new, "--encoder", other, "--json")
    told = summary(capsys)
    assert (counts(told), told["cases"], told["marks"]) == ((0, 24, 0, 0), 1, 2)
    assert told["damaged_cases"] == ["0" * 32]
    assert CaseStore(new).get(case.id).as_json() == case.as_json()
    assert LinkStore(new).marked("confirmed") == [(first, second)]
    assert LinkStore(new).marked("cut") == [(first, third)]
    # A copy for the same model has them too.
    copy = tmp_path / "copy"
    assert transfer(["--from", str(old), "--to", str(copy)]) == 0
    assert "1 cases and 2 marks of links came along; damaged" in capsys.readouterr().out
    assert CaseStore(copy).get(case.id).as_json() == case.as_json()
    assert LinkStore(copy).marked("cut") == [(first, third)]
    # What was said last counts, on either side.
    cases.change(case.id, "bob", notes="seen")
    LinkStore(new).mark(first, second, "cut")
    links.mark(first, third, "confirmed")
    with open_gallery(old, writable=True) as gallery:
        keys = gallery.sample_keys(24)
        gallery.remove(keys[:2])
        entry = gallery.get(keys[5])
        assert entry is not None
        gallery.add([replace(entry, key="new", digest="new")])
    reembed("--gallery", old, "--to", new, "--json")
    told = summary(capsys)
    assert (counts(told), told["cases"], told["marks"]) == ((0, 1, 22, 2), 1, 1)
    assert CaseStore(new).get(case.id).notes == "seen"
    assert LinkStore(new).marked("confirmed") == [(first, third)]
    assert LinkStore(new).marked("cut") == [(first, second)]
    with open_gallery(new) as gallery, open_gallery(old) as source:
        assert len(gallery) == 23
        assert gallery.cameras() == source.cameras()


def test_what_cannot_be_encoded_is_named(
    tmp_path: Path, gallery_folder: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(gallery_folder, old)
    with open_gallery(old, writable=True) as gallery:
        first, second = (gallery.get(key) for key in gallery.sample_keys(2))
        assert first is not None and second is not None
        gallery.add([replace(first, picture=b""), replace(second, picture=b"no jpeg")])
    reembed("--gallery", old, "--to", tmp_path / "new", "--encoder", other, code=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "lacks 2 of 24 images, which cannot be encoded" in error
    assert len(open_gallery(tmp_path / "new")) == 22
