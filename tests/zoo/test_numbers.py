"""Numbers that Python reads and people do not: refused wherever a text becomes a number."""

import pytest

from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import parse_near
from retrieval.sources.crop import parse_box
from training.datasets.files import whole_number
from training.launch import number_or_dynamic
from zoo.command_line import CommandParser
from zoo.errors import UserError
from zoo.numbers import plain


@pytest.mark.parametrize("text", ["1_0", "\u0661\u0660", "\uff11\uff10"])
def test_such_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert int(text.replace("_", "")) == 10
    with pytest.raises(ValueError):
        plain(text)
    parser = CommandParser(module="retrieval.search", examples=[""])
    parser.add_argument("-k", type=int)
    parser.add_argument("--rate", type=float)
    for option in ("-k", "--rate"):
        with pytest.raises(SystemExit):
            parser.parse_args([option, text])
        assert repr(text) in capsys.readouterr().err
    for name in ("camera", "vehicle", "after", "color_confidence"):
        with pytest.raises(UserError, match=text):
            Filters.read({name: [text] if name in ("camera", "vehicle") else text})
    for read in (parse_near, parse_box):
        with pytest.raises(UserError, match=text):
            read(f"{text},20,30,40"[: None if read is parse_box else -3])
    with pytest.raises(UserError, match=text):
        whole_number(text, "vehicle", "here:1")
    with pytest.raises(ValueError):
        number_or_dynamic(text)
    assert (plain("10"), plain(10), plain("1e3")) == ("10", 10, "1e3")
