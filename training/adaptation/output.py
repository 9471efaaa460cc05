"""What an adaptation leaves: best.safetensors with its card, adapt.json, report.md and environment.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from training.adaptation.adaptation import Adaptation
from training.adaptation.guard import Figures
from training.distributed.facts import machine_facts
from zoo.errors import UserError
from zoo.files import replacing, unwritable, write_text
from zoo.loading import read_card
from zoo.weights import has_card, save_weights

FILES = ("best.safetensors", "best.json", "adapt.json", "report.md", "environment.json")


def prepare(out: Path, weights: Path, overwrite: bool) -> None:
    """Make the folder, before anything costs time.

    Raises:
        UserError: it holds the old model, or anything else and `overwrite` is not given, or cannot be made.
    """
    if weights.resolve().parent == out.resolve():
        raise UserError(f"{out}: holds the model that is adapted; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(out.iterdir()):
            raise UserError(f"{out}: holds files already; choose another --out, or give --overwrite")
    except OSError as error:
        raise unwritable(out, error) from error
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def write(out: Path, found: Adaptation, data: str, command: str, device: torch.device) -> dict[str, Any]:
    """Write everything; adapt.json comes last, and tells a whole folder from half of one.

    Args:
        out: the folder.
        found: what came out.
        data: what the user called the pictures.
        command: for the card.
        device: that it ran on.

    Returns:
        What adapt.json holds.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    target = out / "best.safetensors"
    if found.kept == "new":
        note = (
            f"Adapted without labels to {found.pictures} pictures of {len(found.cameras)} cameras ({data})."
        )
        card = found.card.replace(
            name=f"{found.card.name}-adapted",
            recipe="adapt",
            command=command,
            # They were measured on other weights.
            metrics=[],
            notes=f"{found.card.notes} {note}".strip(),
        )
        save_weights(found.model, card, target)
    elif found.weights.suffix != target.suffix or not has_card(found.weights):
        # Another program's file.
        save_weights(found.model, found.card, target)
    else:
        # The very file, so that galleries go on knowing the model by its hash.
        with replacing(target) as temporary:
            shutil.copyfile(found.weights, temporary)
        read_card(found.weights).write(target.with_suffix(".json"))
    content = {"kept": found.kept, "data": data, "old": found.card.name, **found.figures()}
    write_text(out / "report.md", report(found, data, command))
    write_text(out / "environment.json", json.dumps(machine_facts(device), indent=2) + "\n")
    write_text(out / "adapt.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return content


def report(found: Adaptation, data: str, command: str) -> str:
    """What was done and found, for a person to read, in Markdown."""
    cameras = ", ".join(f"{camera}: {count}" for camera, count in found.cameras.items())
    lines = [
        f"# Adaptation of {found.card.name}",
        "",
        f"**The {found.kept} model was kept**: {found.reason}.",
        "",
        f"- pictures: {found.pictures} from {data}",
        f"- cameras: {len(found.cameras)} ({cameras})",
        f"- tracks: {found.tracks}",
        f"- command: `{command}`",
        f"- minutes: {found.seconds / 60:.1f}",
    ]
    if found.shift is not None and found.clumps is not None:
        lines += [
            f"- shift of the statistics: {found.shift:.4f}",
            f"- pictures with a match at another camera that stands out: {found.clumps:.0%}",
        ]
    if found.rounds:
        lines += ["", "| round | clusters | at two cameras | pictures in them |", "|---|---|---|---|"]
        lines += [
            f"| {number} | {each.clusters} | {each.across} | {each.clustered} of {each.pictures} |"
            for number, each in enumerate(found.rounds, start=1)
        ]
    if found.verdict is not None:
        lines += ["", f"Judged by {found.verdict.pairs} matches across cameras that were held out:", ""]
        lines += ["| | agreement | consistency | tracks |", "|---|---|---|---|"]
        lines += [_row("old", found.verdict.old), _row("new", found.verdict.new)]
    return "\n".join(lines) + "\n"


def _row(name: str, figures: Figures) -> str:
    tracks = "-" if figures.tracks is None else f"{figures.tracks:.3f}"
    return f"| {name} | {figures.agreement:.3f} | {figures.consistency:.3f} | {tracks} |"
