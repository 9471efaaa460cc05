"""Fill a gallery: `python -m retrieval.ingest --images DIR --gallery DIR --encoder SPEC`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from retrieval.cameras import find_cameras
from retrieval.entries import Entry, Facts
from retrieval.gallery import Gallery
from retrieval.manifest import COLUMNS, read_manifest
from retrieval.model import open_model
from retrieval.source import ImageFile, Loaded, digest, list_images, load, read_ahead, read_bytes
from serving.encoder import Encoder
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.labels import parse_veri_name
from zoo.preprocess import ImageError

REPORT_NAME = "ingest-report.json"
BATCH_SIZE = 32


@dataclass
class Summary:
    """What an ingest did.

    Attributes:
        found: images in the folder or the table.
        added: images that are new in the gallery, or replaced an older version.
        known: images that the gallery had already, unchanged.
        bad: key -> why the file could not be used.
        seconds: wall time.
    """

    found: int
    added: int = 0
    known: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def ingest(
    files: list[ImageFile],
    gallery: Gallery,
    encoder: Encoder,
    *,
    fps: float = 25.0,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[], object] = lambda: None,
) -> Summary:
    """Add every image that the gallery does not have yet.

    Each batch is on the disk before the next is taken, so that an interrupted ingest goes on where it was.

    Args:
        files: of a folder or a table.
        gallery: open for writing.
        encoder: of the gallery's model.
        fps: frames a second of the recordings, which turns the frame number of a VeRi name into a time.
        batch_size: images encoded at a time.
        advance: called once for every file that is done with.

    Raises:
        UserError: no images there, or the encoder fails.
    """
    started = time.monotonic()
    summary = Summary(len(files))
    fresh = _fresh(
        files,
        gallery.digests([file.key for file in files if file.key.isprintable()]),
        summary,
        advance,
        batch_size,
    )
    while batch := list(islice(fresh, batch_size)):
        summary.added += gallery.add(_encode(batch, encoder, fps, summary.bad))
        for _ in batch:
            advance()
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fresh(
    files: list[ImageFile],
    known: dict[str, str],
    summary: Summary,
    advance: Callable[[], object],
    batch_size: int,
) -> Iterator[Loaded]:
    """Yield the files that have to be encoded; count the others."""

    def read(file: ImageFile) -> Loaded | None:
        if not _is_text(file.key):
            raise ImageError(f"{file.key!r}: the file name is not valid text; rename the file")
        if file.key in known and digest(read_bytes(file.path), file.facts) == known[file.key]:
            return None
        return load(file)

    threads = min(4, os.cpu_count() or 1)
    for file, result in read_ahead(files, read, threads, depth=2 * batch_size):
        if isinstance(result, ImageError):
            summary.bad[file.key.encode(errors="replace").decode()] = str(result)
            advance()
        elif result is None:
            summary.known += 1
            advance()
        else:
            yield result


def _encode(batch: list[Loaded], encoder: Encoder, fps: float, bad: dict[str, str]) -> list[Entry]:
    """Make entries of loaded files; what the encoder refuses goes into `bad`."""
    predictions = encoder.encode([loaded.data for loaded in batch])
    entries = []
    for row, loaded in enumerate(batch):
        key = loaded.file.key
        if row in predictions.errors:
            bad[key] = f"{loaded.file.path}: {predictions.errors[row]}"
            continue
        facts = loaded.file.facts or _facts(key, fps)
        entries.append(
            Entry(
                key=key,
                embedding=predictions.embedding[row],
                color_probs=predictions.color_probs[row],
                type_probs=predictions.type_probs[row],
                picture=loaded.picture,
                source=str(loaded.file.path),
                digest=loaded.digest,
                **vars(facts),
            )
        )
    return entries


def _facts(key: str, fps: float) -> Facts:
    """What a file name of VeRi's form says."""
    name = parse_veri_name(PurePosixPath(key).name)
    if name is None:
        return Facts()
    return Facts(vehicle_id=name.vehicle_id, camera=name.camera_id, time=name.frame / fps)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.ingest",
        description="Encode the images of a folder or a table into a gallery. Run it again to add what is "
        "new; what the gallery has already is skipped, and an interrupted run goes on where it was.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    source.add_argument(
        "--manifest", type=Path, metavar="FILE", help=f"CSV table with the columns {', '.join(COLUMNS)}"
    )
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="GALLERY",
        help="a folder, milvus://HOST:PORT/NAME, or milvus:FILE.db; made when it is not there",
    )
    parser.add_argument(
        "--encoder",
        metavar="SPEC",
        help="a bundle, or triton:grpc://HOST:PORT (default: what the gallery was made with)",
    )
    parser.add_argument(
        "--fps", type=float, default=25.0, help="of the recordings, for VeRi names (default: 25)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="images encoded at a time"
    )
    parser.add_argument(
        "--index",
        metavar="SPEC",
        help="auto, exact, or a FAISS factory string such as IVF4096,SQ8; in Milvus, one of its kinds, such "
        "as HNSW; the gallery remembers it",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help=f"what was done, as JSON (default: {REPORT_NAME} in the gallery's folder, or here)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when at least one image of the folder is in the gallery."""
    args = build_parser().parse_args(argv)
    if not args.fps > 0:
        raise UserError(f"--fps {args.fps:g}: frames a second have to be more than 0")
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: at least 1")
    given = args.images or args.manifest
    files = list_images(args.images) if args.images else read_manifest(args.manifest)
    cameras = find_cameras(args.images or args.manifest.parent)
    encoder, model = open_model(args.gallery, args.encoder)
    try:
        with Gallery.open(args.gallery, model=model, writable=True, index=args.index) as gallery:
            gallery.set_cameras(cameras)
            with tqdm(total=len(files), unit="image", desc="ingest", file=sys.stderr) as bar:
                summary = ingest(
                    files,
                    gallery,
                    encoder,
                    fps=args.fps,
                    batch_size=args.batch_size,
                    advance=bar.update,
                )
            size = len(gallery)
            report = args.report or gallery.folder / REPORT_NAME
    finally:
        encoder.close()
    content = {**asdict(summary), "gallery": args.gallery, "size": size}
    write_text(report, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    for reason in list(summary.bad.values())[:10]:
        print(f"skipped: {reason}", file=sys.stderr)
    print(
        f"{summary.added} added, {summary.known} known, {len(summary.bad)} bad of {summary.found} images in "
        f"{summary.seconds:.1f} s; {args.gallery} holds {size}. Report: {report}"
    )
    if args.json:
        print(json.dumps({**content, "bad": len(summary.bad), "report": str(report)}, ensure_ascii=False))
    if len(summary.bad) == summary.found:
        raise UserError(f"{given}: none of the {summary.found} images can be used; see {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
