"""What others publish and we do not ship: which file of which repository, under which licence."""

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from zoo.errors import UserError
from zoo.hub.cache import Digest, object_path

REMOTE = Path(__file__).with_name("remote.toml")


@dataclass(frozen=True)
class Repository:
    """A public repository at one commit, or a place that files are downloaded from.

    Attributes:
        home: its address, as one opens it in a browser.
        commit: 40 hexadecimal digits; empty for a place whose paths tell the release.
        licence: name of the licence of all that is taken from there.
        licence_path: of the licence's text in the repository, or its whole address.
        non_commercial: the licence forbids commercial use, so the user has to accept it in so many words.
    """

    home: str
    commit: str
    licence: str
    licence_path: str
    non_commercial: bool

    def url(self, path: str) -> str:
        """Build the address of a file's bytes."""
        if path.startswith("https://"):
            return path
        return f"{self.home}/raw/{self.commit}/{quote(path)}" if self.commit else f"{self.home}/{quote(path)}"


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes:
        name: of a checkpoint or network `arch.tag`: the name of the model that it becomes.
        source: where it is published.
        kind: a `checkpoint` is imported after fetching, a `network` in ONNX becomes a bundle, a `file` is
            kept as it is.
        path: in the repository.
        digest: of its bytes.
        input_size: (height, width) of a checkpoint's or network's images.
        pixels: how a network wants them, as options of `serving.export --onnx`.
        notes: one sentence on what it is.
    """

    name: str
    source: Repository
    kind: Literal["checkpoint", "network", "file"]
    path: str
    digest: Digest
    input_size: tuple[int, int] = (256, 256)
    pixels: str = ""
    notes: str = ""

    @property
    def url(self) -> str:
        """The address of its bytes."""
        return self.source.url(self.path)

    @property
    def origin(self) -> str:
        """Where it comes from, in one phrase."""
        commit = f" at commit {self.source.commit}" if self.source.commit else ""
        return f"{self.path} of {self.source.home}{commit}"

    def manual_steps(self) -> str:
        """Tell how to go on where the network refuses."""
        flag = " --accept-licence" if self.source.non_commercial else ""
        steps = (
            f"by hand: get {self.origin}, put it at {object_path(self.digest)}, "
            f"and run `python -m zoo fetch {self.name}{flag}` again"
        )
        if self.kind == "checkpoint":
            steps += f" (or `python -m zoo import FILE{flag}`, wherever the file is)"
        return steps

    def check_licence(self, accepted: bool) -> None:
        """Refuse to go on with non-commercial material that the user has not accepted.

        Raises:
            UserError: names the licence, where to read it, and the flag.
        """
        if self.source.non_commercial and not accepted:
            raise UserError(
                f"{self.name}: its licence is the {self.source.licence}; read "
                f"{self.source.url(self.source.licence_path)} and, if you keep to it, add --accept-licence"
            )

    def to_dict(self) -> dict[str, Any]:
        """Give what `zoo list --json` prints."""
        return {
            "name": self.name,
            "kind": self.kind,
            "url": self.url,
            "digest": f"{self.digest.algorithm}:{self.digest.value}",
            "licence": self.source.licence,
            "non_commercial": self.source.non_commercial,
            "notes": self.notes,
        }


def list_remote() -> list[RemoteFile]:
    """Read the entries, in the order of the file."""
    data = tomllib.loads(REMOTE.read_text(encoding="utf-8"))
    sources = {name: Repository(**fields) for name, fields in data["sources"].items()}
    entries = []
    for name, fields in data["entries"].items():
        values = {
            **fields,
            "source": sources[fields["source"]],
            "digest": Digest.parse(fields["digest"]),
            "input_size": tuple(fields.get("input_size", (256, 256))),
        }
        entries.append(RemoteFile(name=name, **values))
    return entries


def find_remote(name: str) -> RemoteFile:
    """Find an entry by name.

    Raises:
        UserError: there is none; the message names the near ones.
    """
    entries = {entry.name: entry for entry in list_remote()}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(entries)}"
    raise UserError(f"{name}: nothing of that name can be fetched; {hint}")


def recognise(path: Path) -> RemoteFile | None:
    """Find the entry whose bytes a file has, wherever it came from.

    Raises:
        UserError: the file cannot be read.
    """
    entries = {entry.digest: entry for entry in list_remote()}
    try:
        for digest in {digest.algorithm: digest for digest in entries}.values():
            if (found := digest.of(path)) in entries:
                return entries[found]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    return None
