"""Names in packed form say what a list of strings would, also of an older state while newer ones are made."""

import numpy as np
import pytest

from retrieval.local import keys as packed_keys
from retrieval.local.keys import Keys

NAMES = ["a.jpg", "b/ä 車.jpg", "", "a.jpg", "x" * 5000, "b/a.jpg"]


def test_names_come_back_and_older_states_stay() -> None:
    first = Keys.of(NAMES[:3])
    second = first.with_keys(NAMES[3:])
    third = second.with_keys([f"{number:08}.jpg" for number in range(3000)])
    assert [first[place] for place in range(len(first))] == NAMES[:3]
    assert [second[place] for place in range(len(second))] == NAMES
    assert third[6] == "00000000.jpg"
    assert third[3005] == "00002999.jpg"
    # A second try from the same state, after one that came to nothing, leaves no trace of it.
    again = first.with_keys(["other"])
    assert (len(again), again[3]) == (4, "other")


def test_what_a_snapshot_keeps() -> None:
    keys = Keys.of(NAMES).with_keys(["last"])
    read = Keys(keys.packed.copy(), np.cumsum(keys.lengths, dtype=np.int64))
    assert [read[place] for place in range(len(read))] == [*NAMES, "last"]
    assert Keys.of().packed.size == 0
    assert Keys.of().lengths.size == 0


@pytest.mark.parametrize("chunk", [2**20, 3])
def test_finding(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(packed_keys, "_CHUNK", chunk)
    keys = Keys.of(NAMES)
    assert keys.among(["a.jpg", "", "none"]).tolist() == [0, 2, 3]
    # What is added after the first look is found too.
    grown = keys.with_keys([f"{number}" for number in range(20)])
    assert grown.among(["7", "b/a.jpg", "20"]).tolist() == [5, 13]
    assert keys.among(["7"]).size == 0
    assert keys.among([]).size == 0


def test_names_that_look_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_keys, "_WEIGHTS", np.ones(4096, np.uint32))
    keys = Keys.of(["ab", "ba", "ab"])
    assert keys.among(["ab"]).tolist() == [0, 2]
    assert keys.among(["ba"]).tolist() == [1]
