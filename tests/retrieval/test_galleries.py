"""Which encoder a gallery is opened with."""

from pathlib import Path

import pytest

from retrieval.galleries import open_gallery, open_gallery_encoder, recorded_encoder
from serving.encoders.encoder import open_encoder
from tests.retrieval.small_model import write_bundle
from zoo.errors import UserError


def test_a_gallery_opened_with_an_encoder_knows_it_in_every_folder(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.parent)
    encoder = open_encoder(bundle.name, threads=1)
    open_gallery(tmp_path / "gallery", model=encoder, writable=True).close()
    encoder.close()
    assert recorded_encoder(tmp_path / "gallery") == str(bundle)
    monkeypatch.chdir(tmp_path)
    again, model = open_gallery_encoder("gallery")
    assert again.model_hash == model.hash
    again.close()


def test_a_bundle_that_was_moved_is_named_and_found_at_its_new_place(tmp_path: Path) -> None:
    before = write_bundle(tmp_path / "before")
    encoder = open_encoder(str(before), threads=1)
    open_gallery(tmp_path / "gallery", model=encoder, writable=True).close()
    encoder.close()
    before.rename(tmp_path / "after")
    with pytest.raises(UserError, match="before, which is not there any more; name with --encoder") as caught:
        open_gallery_encoder(tmp_path / "gallery")
    assert "serving.export" not in str(caught.value)
    # Following the cure is enough, once.
    again, model = open_gallery_encoder(tmp_path / "gallery", str(tmp_path / "after"))
    open_gallery(tmp_path / "gallery", model=model, writable=True).close()
    again.close()
    assert recorded_encoder(tmp_path / "gallery") == str(tmp_path / "after")
