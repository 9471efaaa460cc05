"""Checkpoints of others: what is read, and what is refused without running a byte of it."""

import io
import os
import pickle
import resource
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import UserError
from zoo.foreign_checkpoint import read_foreign_checkpoint

STATE = OrderedDict(a=torch.arange(4.0), b=torch.ones(2, 3).half(), n=torch.tensor(7))
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Hostile:
    """Unpickling this makes a folder: any other command could stand there."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


class Evaluated(Hostile):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('os').mkdir({self.path!r})",)


class Hoarder:
    """Unpickling this takes 60 GB of memory; `bytearray` is on torch's own list of harmless names."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (60_000_000_000,)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_foreign_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@FORMATS
@pytest.mark.parametrize("rank1", [0.9286, np.float64(0.9286), torch.tensor(0.9286)], ids=type)
def test_state_and_facts_are_read(tmp_path: Path, zipped: bool, rank1: Any) -> None:
    path = tmp_path / "model_best.pth.tar"
    content = {"state_dict": STATE, "rank1": rank1, "epoch": 59, "optimizer": {"state": {}}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if torch.__version__ < "2.5" and isinstance(rank1, np.float64):
        assert "nothing was executed" in refusal(path)
        return
    found = read_foreign_checkpoint(path)
    assert list(found.state) == ["a", "b", "n"]
    assert all(torch.equal(found.state[key], STATE[key]) for key in STATE)
    assert found.facts == {"rank1": pytest.approx(0.9286), "epoch": 59}
    assert found.left_out == ("optimizer",)


@FORMATS
def test_a_plain_state_dict(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "plain.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    found = read_foreign_checkpoint(path)
    assert list(found.state) == list(STATE)
    assert not found.facts
    assert not found.left_out


@pytest.mark.parametrize("entry", ["model", "net", "ema", "model.network", "anything"])
def test_a_state_dict_under_another_name(tmp_path: Path, entry: str) -> None:
    content: Any = STATE
    for name in reversed(entry.split(".")):
        content = {name: content}
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{}]}
    average = {"ema_state_dict": {"a": torch.zeros(4)}} if entry != "ema" else {}
    torch.save({"optimizer": optimizer, **average, **content}, tmp_path / "wrapped.pth")
    found = read_foreign_checkpoint(tmp_path / "wrapped.pth")
    # An average stands before what has no known name, and the model itself before both.
    assert found.entry == ("ema_state_dict" if entry == "anything" else entry)
    assert "optimizer" in found.left_out


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("payload", [Hostile, Evaluated])
def test_hostile_checkpoints_execute_nothing(
    tmp_path: Path, zipped: bool, protocol: int, payload: type[Hostile]
) -> None:
    path, trace = tmp_path / "model_best.pth.tar", tmp_path / "executed"
    content = {"state_dict": STATE, "epoch": payload(trace)}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert not trace.exists()
    if zipped or protocol == 2:
        assert "nothing was executed" in message
        assert ("mkdir" if payload is Hostile else "eval") in message
    # The payload does work: without this check the test would pass on a harmless file.
    torch.load(path, weights_only=False)
    assert trace.is_dir()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_hostile_pickle(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Hostile(trace), protocol))
    message = refusal(path)
    assert "nothing was executed" in message
    assert "mkdir" in message
    assert not trace.exists()


def test_opcodes_that_import_without_a_global(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "executed"
    path.write_bytes(b"(V" + str(trace).encode() + b"\nios\nmkdir\n.")
    assert "os.mkdir" in refusal(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.is_dir()


@FORMATS
def test_a_pickle_that_hoards_memory(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": STATE, "epoch": Hoarder()}, path, _use_new_zipfile_serialization=zipped)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "bytearray" in refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@FORMATS
def test_a_whole_pickled_model_is_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert "torch.nn.modules.linear.Linear" in message
    assert "state dict alone" in message


def rewritten(source: Path, target: Path, compression: int, change: tuple[bytes, bytes] = (b"", b"")) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert change[0] in data
                data = data.replace(*change, 1)
            new.writestr(entry.filename, data)


def test_a_compressed_archive_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(2_500_000)}}, tmp_path / "large.pth")
    rewritten(tmp_path / "large.pth", tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pth").stat().st_size < 20_000
    assert "claims to unpack to 1000" in refusal(tmp_path / "bomb.pth")


@pytest.mark.skipif(torch.__version__ < "2.5", reason="this torch does not compare a storage with its claim")
def test_a_storage_that_claims_more_than_is_there(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(4)}}, tmp_path / "small.pth")
    more = b"J" + struct.pack("<i", 1_000_000_000)
    change = (b"K\x04tq", more + b"tq")
    rewritten(tmp_path / "small.pth", tmp_path / "claim.pth", zipfile.ZIP_STORED, change)
    assert "truncated or damaged" in refusal(tmp_path / "claim.pth")


@FORMATS
def test_a_tensor_that_repeats_one_number_a_billion_times(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "stride.pth"
    torch.save(
        {"state_dict": {"a": torch.zeros(1).expand(1 << 30)}}, path, _use_new_zipfile_serialization=zipped
    )
    assert "claims tensors of 4294967296 bytes" in refusal(path)


def test_a_file_too_large_for_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse: it takes no room on the disk
    assert "more than the limit" in refusal(path)


@FORMATS
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
def test_truncated_files(tmp_path: Path, zipped: bool, part: float) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": {"a": torch.zeros(5000)}}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "truncated" in refusal(path)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "file.pth.tar"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "none")
    for content in (
        b"",
        b"<!DOCTYPE html><html>Not found</html>",
        b"\xff\xd8\xff\xe0 a picture",
        bytes(10_000),
        # The same each time: one in some hundred others begins as a whole pickle does, and is called one.
        np.random.default_rng(0).bytes(10_000),
        buffer.getvalue(),
        (tmp_path / "other.zip").read_bytes(),
    ):
        path.write_bytes(content)
        assert "no checkpoint of torch" in refusal(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    assert "git lfs pull" in refusal(path)
    path.write_bytes(pickle.dumps({"a": [1]}, 2))
    assert "no checkpoint that torch wrote" in refusal(path)
    assert "cannot be read" in refusal(tmp_path / "absent.pth")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "holds a list"),
        ({}, "empty"),
        ({"state_dict": {}}, "empty"),
        ({"state_dict": 5}, "none at all"),
        ({"model": {"a": torch.zeros(1), "b": [2]}}, "'b' is a list"),
        ({"a": torch.zeros(1), "epoch": 3}, "'epoch' is a int"),
        ({"state_dict": {"a": 1.0}}, "'a' is a float"),
        ({3: torch.zeros(1)}, "'3' is a Tensor"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    assert words in refusal(tmp_path / "odd.pth")


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    source, path = tmp_path / "good.pth", tmp_path / "bad.pth"
    generator = np.random.default_rng(0)
    for zipped in (True, False):
        torch.save({"state_dict": STATE, "rank1": 0.5}, source, _use_new_zipfile_serialization=zipped)
        size = source.stat().st_size
        for position in generator.choice(size, size=min(size, 80), replace=False):
            shutil.copy(source, path)
            with path.open("r+b") as file:
                file.seek(int(position))
                file.write(bytes([int(generator.integers(256))]))
            try:
                read_foreign_checkpoint(path)
            except UserError as error:
                assert "\n" not in str(error)
