"""What a check found, and how it is told."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        check: what was looked at.
        status: `warn` for what costs speed or may fail later, `fail` for what stops a training.
        text: what was found.
        cure: what to do about it; empty where nothing is to be done.
    """

    check: str
    status: Status
    text: str
    cure: str = ""

    def line(self) -> str:
        """How it is printed."""
        told = f"{self.status:<4}  {self.check}: {self.text}"
        return f"{told}; {self.cure}" if self.cure else told


class CheckError(Exception):
    """A check that went wrong in a way that is understood; the message says what, `cure` what to do."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.cure = cure
