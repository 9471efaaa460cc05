"""Which encoder a gallery is opened with."""

from pathlib import Path

import pytest

from retrieval.galleries import open_gallery_encoder
from zoo.errors import UserError


@pytest.mark.parametrize("prefix", ["", "openvino:", "ascend:"])
def test_a_path_is_made_absolute_behind_its_prefix(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path}/nowhere: no "):
        open_gallery_encoder(tmp_path / "gallery", f"{prefix}nowhere")
