"""`python -m zoo`: which models there are, what is known of each, and how to bring in more."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error
from zoo.hub.cache import models_folder, object_path, verify_weights
from zoo.hub.remote import RemoteFile, find_remote, list_remote, recognise
from zoo.loading import read_card
from zoo.registry import PRETRAINED, list_models, list_networks, network_folder, weights_path


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; see --help."""
    arguments = _parser().parse_args(argv)
    result = arguments.run(arguments)
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(module="zoo", examples=["list", "show osnet_ain.synthetic"], description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser(
        "list", examples=[""], help="list the models: shipped, cached, and those to be fetched"
    )
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", examples=["osnet_ain.synthetic"], help="show a model's card")
    show.add_argument("name", help="name of a model, or path of a .safetensors file")
    show.set_defaults(run=_show)

    fetch = commands.add_parser(
        "fetch",
        examples=[
            "densenet121.pamtri-veri-multitask --accept-licence",
            "osnet_ain.vehicle-reid-0001",
        ],
        help="bring a published file into the cache, verified",
    )
    fetch.add_argument("name", help="as `zoo list` names it")
    fetch.add_argument("--offline", action="store_true", help="take what the cache holds, ask no network")
    fetch.set_defaults(run=_fetch)

    importing = commands.add_parser(
        "import",
        examples=["model_best.pth.tar --name densenet121.mine"],
        help="convert a checkpoint with PAMTRI's key names",
    )
    importing.add_argument("file", type=Path, help=".pth.tar, .pth or any other that torch.save wrote")
    importing.add_argument("--name", default="", help="densenet121.TAG (default: from the file's name)")
    importing.add_argument("--out", type=Path, help=".safetensors to write (default: the zoo's cache)")
    importing.add_argument(
        "--input-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="that the model was trained at (default: 256 256, or what is known of the file)",
    )
    importing.add_argument(
        "--keep-identities", action="store_true", help="keep the classifier of the training vehicles"
    )
    for name in ("colors", "types"):
        help_text = f"names of its {name} in the classifier's order (default: VeRi's, where it tells as many)"
        importing.add_argument(f"--{name}", nargs="+", metavar="NAME", help=help_text)
    importing.add_argument(
        "--antialias",
        action="store_true",
        help="it was trained on antialiased images, as ours are (default: on plainly interpolated ones)",
    )
    importing.add_argument("--licence", help="of the weights, for the card")
    importing.set_defaults(run=_import)

    push = commands.add_parser(
        "push-to-folder",
        examples=["osnet_ain.synthetic build/zoo"],
        help="copy a model's weights and card, whole and verified",
    )
    push.add_argument("name", help="name of a model, of a fetched file, or path of a .safetensors file")
    push.add_argument("folder", type=Path)
    push.set_defaults(run=_push)

    table = commands.add_parser(
        "table", examples=[""], help="print the README's table of models, made of their cards"
    )
    table.add_argument("--write", type=Path, metavar="README.md", help="put it between its marks there")
    table.set_defaults(run=_table)

    for command in (fetch, importing):
        command.add_argument(
            "--accept-licence", action="store_true", help="keep to the licence of non-commercial weights"
        )
    for command in (listing, show, fetch, importing, push, table):
        command.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    return parser


def _list(arguments: argparse.Namespace) -> dict[str, Any]:
    shipped, remote = list_models(), list_remote()
    cached = [*list_models(models_folder()), *list_networks()]
    here = {card.name for card in (*shipped, *cached)}
    fetchable = [entry for entry in remote if entry.name not in here]
    if not arguments.json:
        if not shipped:
            print(f"no models in {PRETRAINED}")
        for state, cards in (("shipped", shipped), ("cached", cached)):
            for card in cards:
                _print_row(card.name, state, _describe(card), card.licence)
        for entry in fetchable:
            _print_row(entry.name, "to fetch", entry.notes, entry.source.licence)
    return {
        "models": [dataclasses.asdict(card) for card in shipped],
        "cached": [dataclasses.asdict(card) for card in cached],
        "fetchable": [entry.to_dict() for entry in fetchable],
    }


def _print_row(name: str, state: str, what: str, licence: str) -> None:
    print(f"{name:<38} {state:<9} {what} [{licence or 'licence not stated'}]")


def _describe(card: Card) -> str:
    height, width = card.input_size
    measured = card.metrics[0] if card.metrics else {}
    figures = f"; mAP {measured['mAP']:.4f} on {measured.get('dataset', '?')}" if "mAP" in measured else ""
    return f"{height}x{width} {', '.join(card.outputs)}{figures}"


def _show(arguments: argparse.Namespace) -> dict[str, Any]:
    found = read_card(arguments.name)
    card = dataclasses.asdict(found)
    for name, value in card.items():
        if arguments.json or value in ("", (), [], {}):
            continue
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else value
        print(f"{name:<16} {text}")
    if network_folder(arguments.name) is not None:
        return card
    # Of the card alone one would think that the model is here.
    verify_weights(weights_path(arguments.name), found.weights_sha256)
    return card


def _fetch(arguments: argparse.Namespace) -> dict[str, Any]:
    from zoo.fetch import fetch

    entry = find_remote(arguments.name)
    _show_licence(entry)
    path, remarks = fetch(entry, arguments.accept_licence, arguments.offline)
    for remark in remarks:
        print(remark)
    print(f"{entry.name}: {path}")
    if entry.kind == "network":
        print(f"its name is an encoder: vehicle-reid ingest --encoder {entry.name} ...")
    if entry.kind == "file":
        print(f"put it where it belongs with: python -m zoo push-to-folder {entry.name} FOLDER")
    return {"name": entry.name, "path": str(path), "remarks": remarks}


def _import(arguments: argparse.Namespace) -> dict[str, Any]:
    from zoo.fetch import card_fields
    from zoo.importing import KeysDoNotFitError, import_checkpoint

    fields: dict[str, Any] = {"licence": arguments.licence} if arguments.licence else {}
    name, size = arguments.name, (256, 256)
    entry = recognise(arguments.file)
    if entry is not None and entry.kind == "network":
        raise UserError(
            f"{arguments.file}: is {entry.origin}, a network in ONNX; put it at {object_path(entry.digest)} "
            f"and run `python -m zoo fetch {entry.name}`"
        )
    if entry is not None and entry.kind == "checkpoint":
        print(f"{arguments.file} is {entry.origin}")
        _show_licence(entry)
        if arguments.licence:
            raise UserError(f"--licence {arguments.licence}: the licence of this file is known, see above")
        entry.check_licence(arguments.accept_licence)
        fields = card_fields(entry)
        name, size = name or entry.name, entry.input_size
    fields["antialias"] = arguments.antialias
    fields |= {name: tuple(given) for name in ("colors", "types") if (given := vars(arguments)[name])}
    if arguments.input_size:
        size = (arguments.input_size[0], arguments.input_size[1])
    try:
        imported = import_checkpoint(
            arguments.file, name, arguments.out, size, arguments.keep_identities, **fields
        )
    except KeysDoNotFitError as error:
        for line in error.misfits.lines():
            print(line)
        raise
    for remark in imported.remarks:
        print(remark)
    print(f"{imported.card.name}: {imported.path} (licence: {imported.card.licence})")
    return {"name": imported.card.name, "path": str(imported.path), "remarks": list(imported.remarks)}


def _push(arguments: argparse.Namespace) -> dict[str, Any]:
    from zoo.folder import push_to_folder

    written = push_to_folder(arguments.name, arguments.folder)
    for path in written:
        print(path)
    return {"name": arguments.name, "files": [str(path) for path in written]}


def _table(arguments: argparse.Namespace) -> dict[str, Any]:
    from zoo.table import render_table, write_table

    if arguments.write is None:
        print(render_table())
        return {"written": None}
    changed = write_table(arguments.write)
    print(f"{arguments.write}: {'written' if changed else 'is as the cards have it'}")
    return {"written": str(arguments.write), "changed": changed}


def _show_licence(entry: RemoteFile) -> None:
    print(f"licence: {entry.source.licence}; {entry.source.url(entry.source.licence_path)}")


if __name__ == "__main__":
    sys.exit(main())
