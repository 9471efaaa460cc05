"""From a repository's address to a model that loads: verified, resumed, refused, offline."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from serving.conversion.foreign_options import read_foreign_options
from serving.encoders.encoder import open_encoder
from serving.export import build_parser
from tests.serving.conversion.networks import TinyNet, write_onnx
from tests.zoo.reference import reference_state, write_reference
from tests.zoo.server import RangeServer, serving
from zoo.__main__ import main
from zoo.errors import UserError
from zoo.hub import download, remote
from zoo.hub.cache import Digest, object_path
from zoo.loading import load_model, read_card

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "densenet121.far"
REMOTE = """
[sources.far]
home = "{home}"
commit = "{commit}"
licence = "Far Licence, non-commercial"
licence_path = "LICENSE"
non_commercial = {non_commercial}

[entries."densenet121.far"]
source = "far"
kind = "checkpoint"
path = "models/far away/model_best.pth.tar"
digest = "git:{checkpoint}"
input_size = [64, 96]
notes = "A model from far away."

[entries."tiny.far"]
source = "far"
kind = "network"
path = "networks/tiny.onnx"
digest = "sha256:{network}"
input_size = [64, 48]
pixels = "--order BGR --values 0..255 --mean 0 0 0 --std 1 1 1 --metric cosine"
notes = "A network from far away."

[entries."labels.far"]
source = "far"
kind = "file"
path = "data/label_query.csv"
digest = "sha256:{labels}"
notes = "Labels from far away."
"""


class Repository:
    """A public repository at one commit, served on this machine, and the list of entries."""

    def __init__(self, server: RangeServer, folder: Path, listing: Path) -> None:
        self.server = server
        self.checkpoint = folder / "raw" / COMMIT / "models" / "far%20away" / "model_best.pth.tar"
        self.labels = folder / "raw" / COMMIT / "data" / "label_query.csv"
        self.network = folder / "raw" / COMMIT / "networks" / "tiny.onnx"
        self.listing = listing
        for path in (self.checkpoint, self.labels, self.network):
            path.parent.mkdir(parents=True)
        self.labels.write_text("0002_c002_00030600_0.jpg,2,5,1\n")

    def list(self, non_commercial: bool = True) -> None:
        digests = {
            "checkpoint": Digest("git", "").of(self.checkpoint).value
            if self.checkpoint.exists()
            else "0" * 40,
            "labels": Digest("sha256", "").of(self.labels).value,
            "network": Digest("sha256", "").of(self.network).value if self.network.exists() else "0" * 64,
        }
        text = REMOTE.format(
            home=self.server.url, commit=COMMIT, non_commercial=str(non_commercial).lower(), **digests
        )
        self.listing.write_text(text)

    @property
    def object(self) -> Path:
        return object_path(remote.find_remote(MODEL).digest)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as server:
        built = Repository(server, tmp_path / "served", tmp_path / "remote.toml")
        monkeypatch.setattr(remote, "REMOTE", built.listing)
        built.checkpoint.write_bytes(b"a stand-in of some bytes" * 10_000)
        built.list()
        yield built


def fetch(*options: str) -> int:
    return main(["fetch", *options])


def test_a_checkpoint_becomes_a_model(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    state = reference_state()
    write_reference(repository.checkpoint, state, module=True)
    repository.list()
    with pytest.raises(UserError, match=r"not fetched yet; run `python -m zoo fetch densenet121\.far`"):
        load_model(MODEL)
    assert fetch(MODEL, "--accept-licence", "--json") == 0
    out = capsys.readouterr().out
    assert out.startswith("licence: Far Licence, non-commercial; http://")
    assert "left out: the identity classifier" in out
    model, card = load_model(MODEL)
    assert torch.equal(model.fc_vid.weight, state["fc_vid.weight"])
    assert json.loads(out.splitlines()[-1])["path"].endswith(f"models/{MODEL}.safetensors")
    assert card.licence == "Far Licence, non-commercial"
    assert card.input_size == (64, 96)
    assert COMMIT in card.source
    assert repository.object.read_bytes() == repository.checkpoint.read_bytes()
    # A second time costs nothing: not a request, not an import.
    assert fetch(MODEL, "--accept-licence", "--offline") == 0
    assert "already imported" in capsys.readouterr().out
    assert len(repository.server.requests) == 1
    assert main(["list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in rows if "far" in line] == [
        [MODEL, "cached"],
        ["tiny.far", "to"],
        ["labels.far", "to"],
    ]
    # Weights that were damaged since are made anew, from the verified file that the cache still has.
    weights = Path(json.loads(out.splitlines()[-1])["path"])
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert fetch(MODEL, "--accept-licence", "--offline") == 0
    assert "already imported" not in capsys.readouterr().out
    assert weights.read_bytes() == whole
    # The same bytes brought by hand are known for what they are.
    Path(json.loads(out.splitlines()[-1])["path"]).unlink()
    assert main(["import", str(repository.object)]) == 2
    assert "Far Licence" in capsys.readouterr().err
    assert main(["import", str(repository.object), "--accept-licence"]) == 0
    assert read_card(MODEL).replace(weights_sha256="") == card.replace(weights_sha256="")


def test_a_non_commercial_licence_has_to_be_accepted(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch("labels.far") == 2
    answer = capsys.readouterr()
    assert answer.out.startswith("licence: Far Licence")
    assert answer.err.count("\n") == 1
    assert f"/raw/{COMMIT}/LICENSE and, if you keep to it, add --accept-licence" in answer.err
    assert repository.server.requests == []
    repository.list(non_commercial=False)
    assert fetch("labels.far") == 0


def test_a_file_keeps_its_bytes_and_its_name(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push = ["push-to-folder", "labels.far", str(tmp_path / "VeRi")]
    assert main(push) == 2
    assert "not fetched yet; run `python -m zoo fetch labels.far`" in capsys.readouterr().err
    assert fetch("labels.far", "--accept-licence") == 0
    assert main(push) == 0
    assert (tmp_path / "VeRi" / "label_query.csv").read_bytes() == repository.labels.read_bytes()


def test_wrong_bytes_are_removed_and_said(
    repository: Repository, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.checkpoint.write_bytes(b"tampered with")
    assert fetch(MODEL, "--accept-licence") == 2
    message = capsys.readouterr().err
    assert "is not the file that was asked for (13 bytes of git blob id" in message
    assert "it was removed" in message
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_damaged_cache_is_noticed_and_mended(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch("labels.far", "--accept-licence") == 0
    stored = object_path(remote.find_remote("labels.far").digest)
    stored.write_bytes(b"rotten")
    assert fetch("labels.far", "--accept-licence", "--offline") == 2
    assert "the cache's copy is not the file" in capsys.readouterr().err
    assert not stored.exists()
    assert fetch("labels.far", "--accept-licence") == 0
    assert stored.read_bytes() == repository.labels.read_bytes()


def test_an_interrupted_download_is_resumed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    repository.server.drop_after = 100_000
    assert fetch(MODEL, "--accept-licence") == 2
    message = capsys.readouterr().err
    assert "the 100000 bytes that came are kept" in message
    assert message.rstrip().count("\n") == 0
    repository.server.drop_after = 0
    # The bytes are right; that they are no checkpoint is the next step's to say.
    assert fetch(MODEL, "--accept-licence") == 2
    assert "no checkpoint of torch" in capsys.readouterr().err
    assert repository.object.read_bytes() == repository.checkpoint.read_bytes()
    assert [asked for _, asked in repository.server.requests] == [None, "bytes=100000-"]


def test_without_a_network_the_steps_by_hand_lead_on(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    file = repository.labels.read_bytes()
    repository.labels.unlink()
    entry = remote.find_remote("labels.far")
    for options, reason in (((), "answers 404"), (("--offline",), "--offline asks no network")):
        assert fetch("labels.far", "--accept-licence", *options) == 2
        message = capsys.readouterr().err
        assert reason in message
        assert f"get data/label_query.csv of {repository.server.url} at commit {COMMIT}" in message
        assert f"put it at {object_path(entry.digest)}" in message
        assert "run `python -m zoo fetch labels.far --accept-licence` again" in message
    object_path(entry.digest).write_bytes(file)
    assert fetch("labels.far", "--accept-licence", "--offline") == 0


def test_a_hostile_checkpoint_with_the_right_digest_is_still_refused(
    repository: Repository, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.zoo.test_foreign_checkpoint import Hostile

    torch.save({"state_dict": {}, "epoch": Hostile(tmp_path / "executed")}, repository.checkpoint)
    repository.list()
    assert fetch(MODEL, "--accept-licence") == 2
    assert "nothing was executed" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    assert not list(cache.rglob("*.safetensors"))


def test_a_network_becomes_an_encoder(
    repository: Repository, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = TinyNet()
    write_onnx(repository.network, model)
    repository.list(non_commercial=False)
    with pytest.raises(UserError, match=r"not fetched yet; run `python -m zoo fetch tiny\.far`"):
        open_encoder("tiny.far")
    assert fetch("tiny.far", "--json") == 0
    bundle = Path(json.loads(capfd.readouterr().out.splitlines()[-1])["path"])
    encoder = open_encoder("tiny.far")
    card = encoder.card
    assert (card.name, card.channels, card.metric, card.colors) == ("tiny.far", "BGR", "cosine", ())
    assert card.licence == "Far Licence, non-commercial"
    assert remote.find_remote("tiny.far").digest.value in card.source
    assert card == read_card("tiny.far")
    assert encoder.spec == "tiny.far", "a gallery would know it in this folder alone"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with torch.no_grad():
        planes = torch.from_numpy(pixels[..., ::-1].transpose(2, 0, 1).copy()).float()[None]
        expected = model(planes).numpy()
    found = encoder.encode([buffer.getvalue()]).embedding
    encoder.close()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    # A second time costs nothing; damage since then is mended from the file that the cache still has.
    assert fetch("tiny.far", "--offline") == 0
    assert "already made into a bundle" in capfd.readouterr().out
    whole = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(whole[:-1])
    assert fetch("tiny.far", "--offline") == 0
    assert (bundle / "model.onnx").read_bytes() == whole
    assert len(repository.server.requests) == 1
    assert main(["list"]) == 0
    assert ["tiny.far", "cached"] in [line.split()[:2] for line in capfd.readouterr().out.splitlines()]
    assert main(["show", "tiny.far"]) == 0
    with pytest.raises(UserError, match="a network in ONNX, without weights of ours"):
        load_model("tiny.far")
    assert main(["push-to-folder", "tiny.far", str(tmp_path / "copies")]) == 0
    assert (tmp_path / "copies" / "tiny.onnx").read_bytes() == repository.network.read_bytes()
    assert main(["import", str(repository.network)]) == 2
    assert "run `python -m zoo fetch tiny.far`" in capfd.readouterr().err


def test_a_network_that_is_none_leaves_no_bundle(
    repository: Repository, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    repository.network.write_text("not a network, but the right bytes")
    repository.list(non_commercial=False)
    assert fetch("tiny.far") == 2
    message = capfd.readouterr().err
    assert "not an ONNX file" in message and "serving.export made no bundle" in message
    assert not (cache / "networks").exists() or not list((cache / "networks").iterdir())


def test_the_published_network_is_as_it_is_documented() -> None:
    entry = remote.find_remote("osnet_ain.vehicle-reid-0001")
    assert entry.url == (
        "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/vehicle-reid-0001/"
        "osnet_ain_x1_0_vehicle_reid.onnx"
    )
    assert entry.source.url(entry.source.licence_path) == entry.source.licence_path
    options = build_parser().parse_args(["--onnx", "f", *entry.pixels.split()])
    pixels = read_foreign_options(options)
    assert pixels is not None
    image = np.full((1, 2, 2, 3), 200, np.uint8)
    np.testing.assert_allclose(pixels.apply(image), 200, rtol=1e-6)
