"""`python -m training.dataset`: what is understood of a data set, and what looks wrong in it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.dataset", examples=["check data/veri"], description="Look at a data set."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check",
        examples=["data/veri", "pictures --model osnet_ain.synthetic"],
        help="print counts, cameras, duplicates and suspicious labels",
        description="Print what is understood of a data set: layout, counts, cameras, labels, "
        "vehicles that one camera saw, equal and nearly equal pictures, contradicting labels.",
    )
    check.add_argument("dataset", metavar="[NAME:]PATH", help="a data set (docs/datasets.md)")
    check.add_argument("--labels-only", action="store_true", help="read no picture")
    check.add_argument(
        "--model", help="also tell the pictures that this model takes for another vehicle's: name or weights"
    )
    check.add_argument("--show", type=int, default=5, help="examples of each finding [%(default)s]")
    check.add_argument("--threads", type=int, default=2, help="that read pictures [%(default)s]")
    check.add_argument("--json", action="store_true", help="print all findings as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import numpy as np

    from training.data.check import (
        compare_pictures,
        contradictions,
        count,
        of_two_vehicles,
        seen_by_one_camera,
        strangers,
        without_match,
    )
    from training.datasets import Split, vehicles_aside
    from training.datasets.layout import find_layout
    from training.datasets.records import Record
    from training.evaluation.extract import EvaluationSet, extract
    from zoo.inference import InferenceModel
    from zoo.loading import load_model


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Check, and print what was found."""
    arguments = build_parser().parse_args(argv)
    if arguments.show < 0 or arguments.threads < 1:
        raise UserError("--threads must be at least 1, --show at least 0")
    findings = check(arguments.dataset, not arguments.labels_only, arguments.model, max(1, arguments.threads))
    print(describe(findings, arguments.show))
    if arguments.json:
        print(json.dumps(findings, ensure_ascii=False))
    return 0


def check(dataset: str, pictures: bool = True, model: str | None = None, threads: int = 2) -> dict[str, Any]:
    """Find out everything that the command prints.

    Args:
        dataset: a path, or `name:path`.
        pictures: whether to read the pictures and look for duplicates.
        model: to compare pictures by; None for none.
        threads: that read pictures.

    Raises:
        UserError: nothing of the data set can be read.
    """
    layout, path = find_layout(dataset)
    splits, missing = _read_splits(dataset)
    records = [record for part in splits.values() for record in part]
    # A picture may be a query and of the gallery.
    once = list({os.path.normpath(record.path): record for record in records}.values())
    vehicles = {record.path: record.vehicle_id for record in once}
    train, query, gallery = (splits.get(name, []) for name in get_args(Split))
    first = {record.vehicle_id: record.path for record in reversed(once)}
    findings: dict[str, Any] = {
        "dataset": str(path),
        "layout": layout.name,
        "title": layout.title,
        "splits": {name: count(part) for name, part in splits.items()},
        "missing_splits": missing,
        "set_aside": None,
        "one_camera": [_shown(first[vehicle], path) for vehicle in seen_by_one_camera(once)],
        "queries_without_match": [_shown(file, path) for file in without_match(query, gallery)],
        "trained_and_tested": [
            _shown(first[vehicle], path)
            for vehicle in sorted({r.vehicle_id for r in train} & {r.vehicle_id for r in (*query, *gallery)})
        ],
        **{
            f"two_{name}s": [
                {label: _shown(files[0], path) for label, files in labels.items()}
                for labels in contradictions(once, name).values()
            ]
            for name in ("color", "type")
        },
    }
    if not query and not gallery and (aside := _set_aside(dataset)) is not None:
        findings["set_aside"] = aside
    if pictures:
        found = compare_pictures([record.path for record in once], threads)
        groups: dict[str, Sequence[Sequence[Path]]] = {"equal": found.exact, "nearly_equal": found.near}
        findings["unreadable"] = found.unreadable
        for name, files in groups.items():
            findings[name] = [[_shown(file, path) for file in group] for group in files]
            findings[f"{name}_of_two_vehicles"] = [
                [_shown(file, path) for file in group] for group in of_two_vehicles(files, vehicles)
            ]
    if model is not None:
        findings["nearer_to_another"] = [
            {"picture": _shown(file, path), "nearest": _shown(other, path), "margin": round(margin, 4)}
            for file, other, margin in _strangers(model, once)
        ]
    return findings


def _read_splits(dataset: str) -> tuple[dict[str, list[Record]], dict[str, str]]:
    """Read each split that there is; of the others, say why not."""
    layout, path = find_layout(dataset)
    splits: dict[str, list[Record]] = {}
    missing: dict[str, str] = {}
    for split in get_args(Split):
        try:
            splits[split] = layout.read(path, split)
        except UserError as error:
            missing[split] = str(error)
    if not splits:
        raise UserError(next(iter(missing.values())))
    if layout.is_undivided is not None and layout.is_undivided(path):
        splits = {"train": splits["train"]}
    return splits, missing


def _set_aside(dataset: str) -> str | None:
    try:
        aside = vehicles_aside(dataset)
    except UserError as error:
        return str(error)
    return None if aside is None else aside.sentence()


def _strangers(model: str, records: list[Record]) -> list[tuple[Path, Path, float]]:
    network, card = load_model(model)
    if card.pose_inputs:
        raise UserError(f"--model {model}: takes keypoints, which not every picture has; name another model")
    data = EvaluationSet(records, card.input_size, antialias=card.antialias)
    found = extract(InferenceModel(network, card), data, description="model")
    lengths = np.linalg.norm(found.embedding, axis=1, keepdims=True)
    return strangers(found.embedding / np.maximum(lengths, 1e-12), records)


def _shown(file: Path, root: Path) -> str:
    folder = root if root.is_dir() else root.parent
    return os.path.relpath(file, folder) if file.is_relative_to(folder) else str(file)


def describe(findings: dict[str, Any], show: int) -> str:
    """The findings for a person to read, with at most `show` examples of each."""
    lines = [f"{findings['dataset']}: {findings['layout']} ({findings['title']})"]
    for name, found in findings["splits"].items():
        least, middle, most = found["images_per_vehicle"]
        title = {"test": "gallery"}.get(name, name)
        lines.append(
            f"{title:<8} {found['images']} images of {found['vehicles']} vehicles ({least} to {most} each, "
            f"half at most {middle}), {len(found['cameras'])} cameras"
            + (f", {found['tracks']} tracks" if found["tracks"] else "")
            + (f", {found['with_keypoints']} with keypoints" if found["with_keypoints"] else "")
        )
        lines += [
            f"  camera {camera}: {number}" for camera, number in list(found["cameras"].items())[: 4 * show]
        ]
        for attribute, labels in (("colours", found["colors"]), ("types", found["types"])):
            names = [f"{label or 'not labelled'} {number}" for label, number in labels.items()]
            if set(labels) != {""}:
                lines.append(f"  {attribute}: {', '.join(names)}")
    if findings["set_aside"]:
        lines.append(findings["set_aside"])
    elif findings["missing_splits"]:
        lines += [f"{name}: none ({reason})" for name, reason in findings["missing_splits"].items()]
    for key, title in _TITLES.items():
        if key in findings:
            examples = findings[key]
            lines.append(f"{len(examples)} {title}")
            lines += [f"  {_example(example)}" for example in examples[:show]]
    return "\n".join(lines)


_TITLES = {
    "unreadable": "files that are no picture",
    "one_camera": "vehicles that one camera saw",
    "queries_without_match": "queries that no other camera's gallery image matches",
    "trained_and_tested": "vehicles both in train and in query or gallery",
    "equal": "groups of equal files",
    "equal_of_two_vehicles": "of them labelled as two vehicles",
    "nearly_equal": "pairs of nearly equal pictures",
    "nearly_equal_of_two_vehicles": "of them labelled as two vehicles",
    "two_colors": "vehicles with two colours",
    "two_types": "vehicles with two types",
    "nearer_to_another": "pictures nearer to another vehicle's than to any of their own",
}


def _example(example: str | Sequence[str] | dict[str, Any]) -> str:
    if isinstance(example, str):
        return example
    if isinstance(example, dict):
        return ", ".join(f"{name} {value}" for name, value in example.items())
    return " = ".join(example)


if __name__ == "__main__":
    sys.exit(main())
