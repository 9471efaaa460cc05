"""`python -m training.evaluate`: a model's figures by VeRi's protocol, or those of rankings from a file."""

import argparse
import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from training.options import RANKS, add_data_root, add_device_arguments
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.evaluate",
        examples=["--data-root data/veri --weights runs/veri/best.safetensors --report report.html"],
        description="Measure mAP, mINP, CMC, colour and type accuracy on queries and gallery.",
    )
    add_data_root(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", help="a .safetensors or .onnx file, or a model's name")
    what.add_argument("--rankings", type=Path, help="rankings that another system made, as JSON lines")
    what.add_argument(
        "--list-images",
        choices=("train", "query", "test"),
        help="print the files of these images as JSON, null for a folder that is no data set",
    )
    add_device_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time [%(default)s]")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images [%(default)s]")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument(
        "--ranks", type=int, nargs="+", default=list(RANKS), metavar="K", help="of the CMC [1 5 10]"
    )
    parser.add_argument("--save-queries", type=Path, metavar="FILE", help="write each query's figures too")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="write a page that explains them too"
    )
    rows = parser.add_argument_group("other ways to search, in rows of their own")
    rows.add_argument("--camera-centring", action="store_true", help="take each camera's mean embedding away")
    rows.add_argument("--query-expansion", action="store_true", help="search with queries and first results")
    rows.add_argument("--results", type=int, default=5, help="that a query is expanded by [%(default)s]")
    rows.add_argument(
        "--alpha", type=float, default=3.0, help="power of their weights; 0: equal [%(default)s]"
    )
    rows.add_argument("--rerank", action="store_true", help="re-rank by mutual neighbours")
    rows.add_argument("--k1", type=int, default=20, help="neighbours that describe an image [%(default)s]")
    rows.add_argument("--k2", type=int, default=6, help="descriptions that are averaged [%(default)s]")
    rows.add_argument("--lambda", type=float, default=0.3, help="share of the plain distance [%(default)s]")
    rows.add_argument("--tracks", action="store_true", help="search for tracks (VeRi's HIT protocol)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import torch

    from training.datasets import Split, UnknownDataSetError, dataset_name, read_split, vehicles_aside
    from training.datasets.records import VERI, Classes, Record
    from training.distributed.devices import choose_device, device_name
    from training.evaluation.protocol import (
        Embedded,
        Evaluation,
        embed_with_weights,
        evaluate_embedded,
    )
    from training.evaluation.query_expansion import Expansion
    from training.evaluation.query_results import write_query_results
    from training.evaluation.ranking_rows import (
        RankingRow,
        RowOptions,
        camera_warning,
        rank_in_rows,
        rows_table,
    )
    from training.evaluation.rankings import evaluate_rankings
    from training.evaluation.reranking import Reranking
    from training.report.page import Subject, write_report
    from training.report.saliency import Regions
    from zoo.loading import load_model


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UserError: options that do not go together.
    """
    arguments = build_parser().parse_args(argv)
    if arguments.batch_size < 1 or arguments.workers < 0 or (arguments.threads or 1) < 1:
        raise UserError("--batch-size and --threads must be at least 1, --workers at least 0")
    if min(arguments.ranks) < 1:
        raise UserError("--ranks count from 1")
    if arguments.report is not None and str(arguments.weights).endswith(".onnx"):
        raise UserError("--report looks into the torch model: give its .safetensors file, not the .onnx")
    return arguments


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Evaluate and print the table."""
    arguments = parse_arguments(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.list_images:
        print(json.dumps({"images": _list_images(arguments.data_root, arguments.list_images)}))
        return 0
    options = _row_options(arguments)
    query, gallery = read_split(arguments.data_root, "query"), read_split(arguments.data_root, "test")
    if (aside := vehicles_aside(arguments.data_root)) is not None:
        print(f"{dataset_name(arguments.data_root)}: {aside.sentence()}", file=sys.stderr)
    rows: list[RankingRow] = []
    warning = ""
    if arguments.rankings is not None:
        if options.wanted or arguments.report is not None:
            raise UserError(
                "--camera-centring, --query-expansion, --rerank, --tracks and --report need embeddings: give "
                "--weights, not --rankings"
            )
        evaluation = evaluate_rankings(
            arguments.rankings, query, gallery, _known_classes(arguments.data_root, [*query, *gallery])
        )
        title = arguments.rankings.name
    else:
        device = choose_device(arguments.gpus, arguments.npus, arguments.cpus)
        found = embed_with_weights(
            arguments.weights, query, gallery, device, arguments.batch_size, arguments.workers
        )
        evaluation = evaluate_embedded(found)
        _tell_unknown_labels(found)
        if options.wanted:
            rows = rank_in_rows(found, options)
        warning = camera_warning(found) if options.camera_centring else ""
        title = (
            Path(arguments.weights).stem if arguments.weights.endswith(".safetensors") else arguments.weights
        )
    print(evaluation.table(title, arguments.ranks))
    print(evaluation.attribute_table(), end="")
    if rows:
        print(rows_table(rows, arguments.ranks))
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.save_queries is not None:
        write_query_results(arguments.save_queries, evaluation, query, gallery)
    if arguments.report is not None:
        _report(arguments, found, evaluation, device)
        print(f"{arguments.report}: written")
    if arguments.json:
        others = {"camera_warning": warning} if warning else {}
        print(json.dumps(_as_json(evaluation, rows, arguments.ranks) | others))
    return 0


def _as_json(evaluation: Evaluation, rows: list[RankingRow], ranks: list[int]) -> dict[str, Any]:
    others = {row.name.replace(" ", "_").replace("-", "_"): row.figures(ranks) for row in rows}
    attributes = {name: quality.figures() for name, quality in evaluation.attributes().items()}
    return {**evaluation.figures(ranks), **others, "attributes": attributes}


def _tell_unknown_labels(found: Embedded) -> None:
    for attribute, labels in found.unknown_labels().items():
        listed = ", ".join(labels)
        print(f"{attribute} labels that the model does not know do not count: {listed}", file=sys.stderr)


def _known_classes(data_root: str, records: list[Record]) -> Classes:
    """What another system may say: VeRi's classes and those of all the data set's splits."""
    with contextlib.suppress(UserError):
        records = [*records, *read_split(data_root, "train")]
    return VERI.extended(records)


def _list_images(data_root: str, split: Split) -> list[str] | None:
    try:
        return [str(record.path) for record in read_split(data_root, split)]
    except UnknownDataSetError:
        return None


def _report(
    arguments: argparse.Namespace, found: Embedded, evaluation: Evaluation, device: torch.device
) -> None:
    """Write the page; the model is loaded again, for it has to be looked into."""
    model, card = load_model(arguments.weights)
    command = f"python -m training.evaluate {shlex.join(sys.argv[1:])}"
    subject = Subject(dataset_name(arguments.data_root), card, device_name(device), command)
    write_report(arguments.report, found, evaluation, Regions(model, card, device), subject)


def _row_options(arguments: argparse.Namespace) -> RowOptions:
    """What the command line wants beside the plain figures."""
    try:
        return RowOptions(
            arguments.camera_centring,
            Expansion(arguments.results, arguments.alpha) if arguments.query_expansion else None,
            Reranking(arguments.k1, arguments.k2, vars(arguments)["lambda"]) if arguments.rerank else None,
            arguments.tracks,
        )
    except ValueError as error:
        raise UserError(f"{error}; see --help") from error


if __name__ == "__main__":
    sys.exit(main())
