"""The Triton model repository on disk: three models, a folder for each of their versions.

A bundle holds one of version 1. `install` keeps another one, which servers load from: it puts a bundle's
model into it as the next version, in such an order that a server which polls the folder changes over without
a gap.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo.decoding_memory
import zoo.preprocess
from serving.bundle import CARD_KEY, Bundle, file_hash
from serving.triton.configs import (
    ENTRY_MODEL,
    HASH_KEY,
    LABEL_FILES,
    ONNX_MODEL,
    PREPROCESS_MODEL,
    RESOURCE_KEY,
    build_configs,
    config_schema,
)
from serving.triton.options import RepositoryOptions
from zoo.card import Card
from zoo.errors import UserError
from zoo.files import replacing, unwritable, write_text

MODELS = (PREPROCESS_MODEL, ONNX_MODEL, ENTRY_MODEL)
"""The entry last: it names what it needs of the others."""

_PREPROCESS_SOURCES = {
    "model.py": Path(__file__).parent / "models" / "vehicle_preprocess.py",
    "preprocess.py": Path(zoo.preprocess.__file__),
    "decoding_memory.py": Path(zoo.decoding_memory.__file__),
}


@dataclass(frozen=True)
class Repository:
    """A repository on disk.

    Attributes:
        path: of the folder.
        version: of the models that the entry uses.
        card: of that model.
        model_hash: sha256 of its ONNX file.
    """

    path: Path
    version: int
    card: Card
    model_hash: str

    @classmethod
    def open(cls, path: str | Path) -> "Repository":
        """Open a repository.

        Raises:
            UserError: missing, not one of ours, or not whole.
        """
        path = Path(path)
        config = _read_config(path / ENTRY_MODEL)
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        if CARD_KEY not in parameters or HASH_KEY not in parameters:
            raise UserError(
                f"{path}: its {ENTRY_MODEL} has no card; make another with: {_install_command(path)}"
            )
        card = Card.from_json(parameters[CARD_KEY], f"the card of {path}")
        repository = cls(path, entry_version(config), card, parameters[HASH_KEY])
        _check_parts(path, repository.version, card, repository.model_hash, _install_command(path))
        return repository


def write_repository(folder: Path, card: Card, onnx_file: Path, model_hash: str) -> None:
    """Write a new repository of one model, with options as they are by default.

    Args:
        folder: the repository's root; made here.
        card: the model's card; it travels in the entry model's parameters.
        onnx_file: the model; hard-linked where the file system can, so that a bundle holds it once.
        model_hash: sha256 of the ONNX file.

    Raises:
        UserError: tritonclient is not installed.
    """
    _write_version(folder, card, onnx_file, model_hash, RepositoryOptions(), version=1)


def install(bundle: Bundle, folder: Path, options: RepositoryOptions) -> Repository:
    """Make `folder` a repository of the bundle's model, or bring the one that is there up to date.

    Another model becomes the next version; the same model with other options stays the version that it is.
    Versions that are no longer served are removed.

    Raises:
        UserError: the folder holds something else, cannot be written to, or serves a model of other inputs
            or outputs, which the versions of one repository have to share.
    """
    version = 1
    is_new = _is_begun(folder)
    try:
        if is_new:
            _remove(folder)
        else:
            current = Repository.open(folder)
            if changed := _changed_interface(current.card, bundle.card):
                raise UserError(
                    f"{folder}: serves {current.card.name}, and {bundle.card.name} has other "
                    f"{' and '.join(changed)}; choose another --out and serve it beside the first"
                )
            same = bundle.model_hash == current.model_hash and _is_current(folder, current.version)
            version = current.version + (not same)
            _prune(folder, newest=current.version, keep=options.keep_versions - (not same))
        _write_version(folder, bundle.card, bundle.onnx_file, bundle.model_hash, options, version)
    except OSError as error:
        if is_new:
            _remove(folder)
        raise unwritable(folder, error) from error
    return Repository.open(folder)


def check_repository(bundle: Bundle) -> None:
    """Make sure that a bundle's repository is whole, which a server tells in many words where it is not.

    Raises:
        UserError: a part is missing, or the model is another one or damaged.
    """
    cure = "copy the bundle again, or export the model again"
    path = bundle.repository
    # Without its config, the entry is among the missing parts.
    version = entry_version(_read_config(path / ENTRY_MODEL)) if _config(path, ENTRY_MODEL).exists() else 1
    _check_parts(path, version, bundle.card, bundle.model_hash, cure)


def server_flags(repository: Path, cache_bytes: int = 64 * 2**20) -> list[str]:
    """Name the flags that a server must be started with for the repository's options to have an effect.

    Args:
        repository: its folder.
        cache_bytes: size of the response cache, where the repository wants one.
    """
    config = _read_config(repository / ENTRY_MODEL)
    flags = []
    if config.response_cache.enable:
        flags.append(f"--cache-config=local,size={cache_bytes}")
    if RESOURCE_KEY in config.parameters:
        resource = config.parameters[RESOURCE_KEY].string_value
        flags += ["--rate-limit=execution_count", f"--rate-limit-resource={resource}"]
    return flags


def _write_version(
    folder: Path, card: Card, onnx_file: Path, model_hash: str, options: RepositoryOptions, version: int
) -> None:
    """Write one version and the configs, in an order that is safe under a server's eyes.

    First what nobody uses yet; last, in one rename, the entry's config, which says both the entry's version
    and the version of what it is made of.
    """
    from google.protobuf import text_format

    for name in MODELS:
        target = folder / name / str(version)
        if target.exists():
            continue
        staged = target.with_name(f".{version}.part")
        shutil.rmtree(staged, ignore_errors=True)
        try:
            staged.mkdir(parents=True)
            if name == PREPROCESS_MODEL:
                for file, source in _PREPROCESS_SOURCES.items():
                    shutil.copyfile(source, staged / file)
            elif name == ONNX_MODEL:
                _link(onnx_file, staged / "model.onnx")
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    for output, names in (("color_probs", card.colors), ("type_probs", card.types)):
        if output in card.outputs:
            label_file = folder / ONNX_MODEL / LABEL_FILES[output]
            _write_changed(label_file, "".join(f"{name}\n" for name in names))
    configs = build_configs(card, model_hash, options, version)
    for name in MODELS:
        _write_changed(_config(folder, name), text_format.MessageToString(configs[name], as_utf8=True))


def _write_changed(path: Path, text: str) -> None:
    """Write a file unless it is so already: a server that polls would load the model again for its date."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def _check_parts(path: Path, version: int, card: Card, model_hash: str, cure: str) -> None:
    model = f"{ONNX_MODEL}/{version}/model.onnx"
    parts = [f"{name}/config.pbtxt" for name in MODELS]
    # The entry's version folder is empty, and some ways of copying lose empty folders.
    parts += [f"{ENTRY_MODEL}/{version}", model]
    parts += [f"{PREPROCESS_MODEL}/{version}/{file}" for file in _PREPROCESS_SOURCES]
    parts += [f"{ONNX_MODEL}/{LABEL_FILES[name]}" for name in LABEL_FILES if name in card.outputs]
    faults = [f"{part} is missing" for part in parts if not (path / part).exists()]
    if not faults and file_hash(path / model) != model_hash:
        faults.append(f"{model} is damaged or another model")
    if faults:
        raise UserError(f"{path}: {', '.join(faults)}; {cure}")


def _read_config(folder: Path) -> Any:
    from google.protobuf import text_format

    schema = config_schema()
    path = folder / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(
            f"{folder.parent}: no Triton repository of ours ({path.relative_to(folder.parent)}: {reason}); "
            f"make one with: {_install_command(folder.parent)}"
        ) from error


def _config(folder: Path, model: str) -> Path:
    return folder / model / "config.pbtxt"


def entry_version(entry: Any) -> int:
    """Which version of the others an entry, by its `ModelConfig`, is made of; its answers name it."""
    return max((int(step.model_version) for step in entry.ensemble_scheduling.step), default=1)


def _install_command(folder: Path) -> str:
    return f"python -m serving.repository --bundle BUNDLE --out {folder}"


def _changed_interface(current: Card, new: Card) -> list[str]:
    """Name what versions under one config cannot differ in."""
    fields = ("input_size", "antialias", "pose_inputs", "outputs", "colors", "types")
    return [field for field in fields if getattr(current, field) != getattr(new, field)]


def _is_current(folder: Path, version: int) -> bool:
    """Tell whether a version decodes images as this release of the project does."""
    target = folder / PREPROCESS_MODEL / str(version)
    return all(
        (target / file).read_bytes() == source.read_bytes() for file, source in _PREPROCESS_SOURCES.items()
    )


def _prune(folder: Path, newest: int, keep: int) -> None:
    """Remove old versions, but never the newest, which is being served, and what was begun beyond it."""
    for name in MODELS:
        for target in (folder / name).iterdir():
            if target.name.isdecimal() and not newest - max(1, keep) < int(target.name) <= newest:
                shutil.rmtree(target)


def _is_begun(folder: Path) -> bool:
    """Whether a folder is missing, empty, or of an `install` that was cut short: the entry is last."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return names <= set(MODELS) and not _config(folder, ENTRY_MODEL).exists()


def _remove(folder: Path) -> None:
    """Take away what was begun."""
    for name in MODELS:
        shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
