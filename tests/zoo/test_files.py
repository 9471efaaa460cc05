"""Files that are whole or not there."""

import gc
import os
import sys
from pathlib import Path

import pytest

from zoo.errors import UserError, exit_on_user_error
from zoo.files import replacing, write_text
from zoo.preprocess import ImageError


def test_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "车")
    assert path.read_text(encoding="utf-8") == "车"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_reader_sees_the_old_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.txt: cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.csv: empty"), 2, "error: a.csv: empty\n"),
        (ImageError("b.jpg: truncated"), 2, "error: b.jpg: truncated\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_commands_report_in_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @exit_on_user_error
    def main() -> int:
        raise error

    assert main() == code
    assert capsys.readouterr().err == line


def test_interrupt_in_the_making_of_a_progress_bar_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfMade:
        def __init__(self) -> None:
            raise KeyboardInterrupt

        def __del__(self) -> None:
            raise AttributeError("pos")

    @exit_on_user_error
    def main() -> int:
        HalfMade()
        return 0

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    assert main() == 130
    gc.collect()
    assert told == []


def test_our_own_mistakes_keep_their_traceback() -> None:
    @exit_on_user_error
    def main() -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        main()
