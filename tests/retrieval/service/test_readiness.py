"""Readiness where the encoder is stuck, which a real one is only in bad luck: a stand-in that waits."""

import threading
from types import SimpleNamespace

import pytest

from retrieval.service.readiness import Readiness
from serving.encoders.image import InputImage
from zoo.errors import UserError


class Stuck:
    """A searcher that looks for as long as it is told to, and counts how often it is asked."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = 0
        self.error: Exception | None = None
        self.gallery = range(24)

    def encode(self, image: InputImage) -> SimpleNamespace:
        self.asked += 1
        self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        return SimpleNamespace()


def test_a_stuck_encoder_is_told_in_time_and_asked_once() -> None:
    searcher = Stuck()
    readiness = Readiness(searcher, patience=0.05)
    for _ in range(3):
        with pytest.raises(UserError, match=r"the encoder has not answered for 0\.05 seconds"):
            readiness.check()
    assert searcher.asked == 1
    searcher.go_on.set()
    assert Readiness(searcher).check() == 24


def test_those_who_wait_get_the_one_answer() -> None:
    searcher = Stuck()
    readiness = Readiness(searcher)
    sizes: list[int] = []
    waiting = [threading.Thread(target=lambda: sizes.append(readiness.check())) for _ in range(8)]
    for thread in waiting:
        thread.start()
    searcher.go_on.set()
    for thread in waiting:
        thread.join()
    assert sizes == [24] * 8
    assert searcher.asked == 1


def test_a_fault_does_not_hold() -> None:
    searcher = Stuck()
    searcher.go_on.set()
    searcher.error = UserError("no such server")
    readiness = Readiness(searcher)
    with pytest.raises(UserError, match="no such server"):
        readiness.check()
    searcher.error = None
    assert readiness.check() == 24
