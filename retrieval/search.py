"""Ask a gallery: `python -m retrieval.search --gallery DIR --query IMAGE`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retrieval.centring import add_centring, warn_of_traffic
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.entries import Result
from retrieval.gallery.filters import FIELDS, Filters
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks, without_looks
from retrieval.query.sameness import (
    add_false_match_rate,
    can_tell,
    check_false_match_rate,
    verdict,
)
from retrieval.query.searcher import Query, Searcher
from retrieval.sources.folder import list_images
from retrieval.sources.read_ahead import read_ahead, reading_threads
from retrieval.sources.source import ImageFile
from serving.encoders.image import InputImage
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error
from zoo.files import replacing
from zoo.labels import parse_veri_name
from zoo.preprocess import ImageError

BATCH_SIZE = 32


def write_rankings(
    searcher: Searcher, folder: Path, out: Path, k: int, filters: Filters, camera: int | None = None
) -> int:
    """Search with every image of a folder and write one JSON line for each, in order of the names.

    A line is `{"query": name, "color": .., "type": .., "results": [keys, best first]}`, and where the model
    has a sameness calibration, `verdict` and the first one's `probability`. The file is whole or not there:
    figures measured on a part of the queries would pass for those of all. `camera` is that of the queries
    whose names do not tell it.

    Returns:
        the number of queries.

    Raises:
        UserError: a query that cannot be used; every such file is named.
    """
    files = list_images(folder)
    bad: list[str] = []
    with (
        replacing(out) as temporary,
        open(temporary, "w", encoding="utf-8") as lines,
        tqdm(total=len(files), unit="query", desc="search", file=sys.stderr) as bar,
    ):
        batch: list[tuple[ImageFile, InputImage]] = []
        for number, (file, data) in enumerate(
            read_ahead(files, lambda file: InputImage.open(file.path), reading_threads(), 2 * BATCH_SIZE), 1
        ):
            if isinstance(data, ImageError):
                bad.append(str(data))
            else:
                batch.append((file, data))
            if len(batch) == BATCH_SIZE or (batch and number == len(files)):
                queries = searcher.encode_all([data for _, data in batch])
                for (asked, _), query in zip(batch, queries, strict=True):
                    if isinstance(query, str):
                        bad.append(query)
                    else:
                        lines.write(_ranking(searcher, asked, query, k, filters, camera) + "\n")
                    bar.update()
                batch = []
        if bad:
            raise UserError(
                f"{len(bad)} of {len(files)} queries cannot be used, so nothing was written: {'; '.join(bad)}"
            )
    return len(files)


def _ranking(
    searcher: Searcher, file: ImageFile, query: Query, k: int, filters: Filters, camera: int | None
) -> str:
    if searcher.gallery.camera_centring:
        name = parse_veri_name(file.path.name)
        camera = camera if name is None else name.camera_id
    keys = searcher.gallery.rank(query.embedding, k, filters, camera=camera)
    line: dict[str, Any] = {"query": file.key, "color": query.color, "type": query.type, "results": keys}
    if can_tell(searcher.gallery):
        nearest = searcher.search(query, 1, filters)
        line["verdict"] = verdict(searcher.gallery, nearest, searcher.false_match_rate)
        line["probability"] = nearest[0].probability if nearest else None
    return json.dumps(line, ensure_ascii=False)


def print_results(query: Query, results: list[Result], verdict: str | None) -> None:
    """Print the answer for people."""
    if verdict is not None:
        print(f"verdict: {verdict}")
    for what, chances in (("colour", query.colors), ("type", query.types)):
        if chances:
            likely = ", ".join(f"{name} {chance:.0%}" for name, chance in list(chances.items())[:3])
            print(f"{what}: {likely}")
    if not results:
        print("no image of the gallery meets the filters")
    width = max((len(result.key) for result in results), default=0)
    for result in results:
        look = " ".join(part for part in (result.color, result.type) if part)
        chance = f"{result.score:.3f}" if result.probability is None else f"{result.probability:4.0%}"
        print(
            f"{result.rank:4}  {chance:>5}  {result.key:{width}}  {look:16}  {result.clock:>10}  "
            f"{result.camera_name or ''}".rstrip()
        )


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.search",
        examples=[
            "--gallery build/gallery --query car.jpg -k 5",
            "--gallery build/gallery --query car.jpg --color white --camera 3 --after 8:00 --json",
        ],
        description="Find a vehicle in a gallery by an image of it.",
    )
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="GALLERY",
        help="a folder, milvus[+tls]://HOST:PORT/NAME, or milvus:FILE.db",
    )
    parser.add_argument(
        "--query",
        type=Path,
        required=True,
        action="append",
        metavar="PATH",
        help="an image, or a folder of them with --rankings; repeated for several images of one vehicle",
    )
    parser.add_argument(
        "-k", "--k", type=int, help="results wanted, 0 for all (default: 10; with --rankings: 0)"
    )
    for field in FIELDS:
        options: dict[str, Any] = {"action": "append"} if field.is_multiple else {}
        again = "; may be repeated" if field.is_multiple else ""
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", metavar=field.form, help=f"{field.help}{again}", **options
        )
    parser.add_argument("--like", action="append", default=[], metavar="KEY", help="a result that is right")
    parser.add_argument("--unlike", action="append", default=[], metavar="KEY", help="a result that is wrong")
    add_centring(parser)
    parser.add_argument(
        "--query-camera",
        type=int,
        metavar="N",
        help="that the query comes from, for camera centring (default: the mean of all cameras; with "
        "--rankings, the one in a VeRi file name)",
    )
    parser.add_argument("--rerank", action="store_true", help="order the first results by mutual neighbours")
    parser.add_argument(
        "--soft",
        action="store_true",
        help="let --color and --type, or what the model says of the query, order results and hide none",
    )
    parser.add_argument("--group", choices=("vehicle", "track"), help="the best image of each of these only")
    parser.add_argument(
        "--images",
        action="store_true",
        help="with --json: with each pass, the images that it is made of, and how near each is by itself",
    )
    add_false_match_rate(parser)
    parser.add_argument(
        "--encoder",
        metavar="SPEC",
        help="a model's name, a bundle, or triton:grpc://HOST:PORT (default: the gallery's own)",
    )
    parser.add_argument(
        "--rankings",
        type=Path,
        metavar="FILE",
        help="with a folder as query: one JSON line a query goes here",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    first = args.query[0]
    for path in args.query:
        if path.is_dir() and args.rankings is None:
            raise UserError(f"{path}: a folder of queries needs --rankings FILE")
    if args.rankings is not None and (not first.is_dir() or len(args.query) > 1):
        raise UserError(f"{first}: is no folder of queries, and --rankings needs just one")
    if args.rankings is not None and (args.like or args.unlike or args.rerank or args.group or args.soft):
        raise UserError(
            "--rankings: whole rankings go without --like, --unlike, --rerank, --soft and --group"
        )
    if args.images and not args.json:
        raise UserError("--images: is told as JSON only; add --json")
    check_false_match_rate(args.false_match_rate)
    filters = Filters.read({field.name: getattr(args, field.name) for field in FIELDS})
    encoder, model = open_gallery_encoder(args.gallery, args.encoder)
    try:
        with open_gallery(args.gallery, model=model, camera_centring=args.camera_centring) as gallery:
            gallery.check_query_camera(args.query_camera)
            warn_of_traffic(gallery)
            searcher = Searcher(gallery, encoder, args.false_match_rate)
            if args.rankings is not None:
                k = 0 if args.k is None else args.k
                count = write_rankings(searcher, first, args.rankings, k, filters, args.query_camera)
                print(f"{count} rankings written to {args.rankings}")
                if args.json:
                    print(json.dumps({"queries": count, "rankings": str(args.rankings)}, ensure_ascii=False))
                return 0
            try:
                queries = [searcher.encode(path) for path in args.query]
            except ImageError as error:
                raise UserError(str(error)) from error
            looks = Looks.of(filters) if args.soft else None
            filters = without_looks(filters) if args.soft else filters
            results = searcher.search(
                queries,
                10 if args.k is None else args.k,
                filters,
                feedback=Feedback(tuple(args.like), tuple(args.unlike)),
                rerank=args.rerank,
                group=args.group,
                camera=args.query_camera,
                looks=looks,
            )
            if args.json:
                answer = searcher.answer(queries[0], results, filters, with_images=args.images)
                print(json.dumps(answer, ensure_ascii=False))
            else:
                print_results(queries[0], results, verdict(gallery, results, args.false_match_rate))
    finally:
        encoder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
