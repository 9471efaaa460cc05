"""Which encoder a gallery is opened with."""

from pathlib import Path

import pytest

from retrieval.galleries import open_gallery, open_gallery_encoder, recorded_encoder
from serving.encoders.encoder import open_encoder


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
