"""What a maintainer needs, in one file, without what tells who sent it."""

import getpass
import importlib.metadata
import json
import platform
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.files import replacing


def write_archive(path: Path, report: Mapping[str, Any], logs: Mapping[str, Any]) -> None:
    """Write the report, the cards' logs and the installed packages into a zip file.

    Raises:
        UserError: it cannot be written.
    """
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()})
    files = {
        "report.json": json.dumps(report, indent=2),
        "cards.json": json.dumps(logs, indent=2),
        "packages.txt": "\n".join(packages),
    }
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, anonymous(text) + "\n")
    except OSError as error:
        raise UserError(
            f"--bundle {path}: cannot be written ({error.strerror}); choose another file"
        ) from error


def anonymous(text: str) -> str:
    """Replace the names of user and machine, addresses, and what lies in the user's home."""
    named = {str(Path.home()): "~", platform.node(): "HOST", _user(): "USER"}
    for name, stand_in in named.items():
        # `root` and `/` name nobody, and are part of too much else.
        if name not in ("", "/", "root", "localhost"):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", stand_in, text)
    text = re.sub(r"\b\d{1,3}(\.\d{1,3}){3}\b(?!\.?\d)", "ADDRESS", text)
    return re.sub(r"\b[\w.+-]+@[\w-]+\.[\w.]+\b", "ADDRESS", text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
