"""`python -m zoo`: which models there are, and what is known of each."""

import argparse
import dataclasses
import json
import sys

from zoo.card import Card
from zoo.errors import exit_on_user_error
from zoo.registry import PRETRAINED, list_models, read_card


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; see --help."""
    parser = argparse.ArgumentParser(prog="python -m zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="list the models that are shipped")
    show = commands.add_parser("show", help="show a model's card")
    show.add_argument("name", help="name of a model, or path of a .safetensors file")
    for command in (listing, show):
        command.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    arguments = parser.parse_args(argv)
    if arguments.command == "list":
        _list(arguments.json)
    else:
        _show(read_card(arguments.name), arguments.json)
    return 0


def _list(as_json: bool) -> None:
    cards = list_models()
    if as_json:
        print(json.dumps({"models": [dataclasses.asdict(card) for card in cards]}, ensure_ascii=False))
        return
    if not cards:
        print(f"no models in {PRETRAINED}")
    for card in cards:
        height, width = card.input_size
        measured = card.metrics[0] if card.metrics else {}
        figures = f"mAP {measured['mAP']:.4f} on {measured.get('dataset', '?')}" if "mAP" in measured else ""
        print(f"{card.name:<28} {height}x{width}  {', '.join(card.outputs):<36} {figures}".rstrip())


def _show(card: Card, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(card), ensure_ascii=False))
        return
    for name, value in dataclasses.asdict(card).items():
        if value in ("", (), [], {}):
            continue
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else value
        print(f"{name:<16} {text}")


if __name__ == "__main__":
    sys.exit(main())
