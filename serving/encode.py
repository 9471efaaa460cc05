"""Encode a folder of images into one file: `python -m serving.encode --images DIR --encoder SPEC --out FILE`.

The file is numpy's .npz: `names` (paths below the folder), `embedding`, `color_probs` and `type_probs`, row
by row, and `model_hash`. Images that cannot be used are told of and left out.
"""

import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from tqdm import tqdm

from serving.encoders.encoder import Encoder, open_encoder
from serving.encoders.predictions import Predictions
from serving.engines import selection as engines
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, stop_if_starved
from zoo.files import is_endless, replacing
from zoo.preprocess import MAX_BYTES

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")

BATCH_SIZE = 32

AHEAD = 2
"""Batches that are read and submitted before the answer of one is waited for, so that no server waits."""


def encode_files(
    files: Sequence[Path],
    encoder: Encoder,
    *,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[int], object] = lambda count: None,
) -> Predictions:
    """Encode files, a few batches in memory at a time.

    Args:
        files: of images; those that cannot be read are reported like those that cannot be decoded.
        encoder: any.
        batch_size: images submitted together.
        advance: called with the number of images of each batch that is done with.

    Raises:
        UserError: the encoder fails.
    """
    result = Predictions.empty(encoder.card, len(files))
    waiting: deque[tuple[int, Future[Predictions]]] = deque()

    def take() -> None:
        start, future = waiting.popleft()
        found = future.result()
        count = len(found.embedding)
        for name in ("embedding", "color_probs", "type_probs"):
            getattr(result, name)[start : start + count] = getattr(found, name)
        for row, error in found.errors.items():
            result.errors.setdefault(start + row, error)
        advance(count)

    try:
        for start in range(0, len(files), batch_size):
            batch = []
            for index, file in enumerate(files[start : start + batch_size], start):
                try:
                    with file.open("rb") as opened:
                        batch.append(opened.read(MAX_BYTES + 1))  # one more is refused, and no more is kept
                except OSError as error:
                    stop_if_starved(error)
                    result.errors[index] = f"cannot be read ({error.strerror or error})"
                    batch.append(b"")
            waiting.append((start, encoder.submit(batch)))
            if len(waiting) > AHEAD:
                take()
        while waiting:
            take()
    finally:
        for _, future in waiting:
            future.cancel()
    return result


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when at least one image was encoded."""
    parser = CommandParser(
        module="serving.encode",
        examples=["--images pictures --encoder build/bundle --out embeddings.npz"],
        description=__doc__,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder, with all below it")
    parser.add_argument(
        "--encoder", required=True, metavar="SPEC", help="a bundle, auto:BUNDLE, triton:grpc://HOST:PORT, ..."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .npz file")
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of an in-process model (default: every core)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON line")
    arguments = parser.parse_args(argv)
    if arguments.batch_size < 1 or (arguments.threads or 1) < 1:
        raise UserError("--batch-size and --threads must be at least 1")
    if not arguments.images.is_dir():
        raise UserError(f"{arguments.images}: no folder there; name one with --images")
    named = (path for path in arguments.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(path for path in named if not is_endless(path))
    if not files:
        raise UserError(f"{arguments.images}: holds no images ({', '.join(SUFFIXES)})")
    # What `auto` chose is worth a line here.
    logging.basicConfig(format="%(message)s")
    logging.getLogger(engines.__name__).setLevel(logging.INFO)
    encoder = open_encoder(arguments.encoder, arguments.threads)
    began = time.monotonic()
    try:
        with tqdm(total=len(files), unit="image", desc="encode", file=sys.stderr) as bar:
            found = encode_files(files, encoder, batch_size=arguments.batch_size, advance=bar.update)
    finally:
        encoder.close()
    seconds = time.monotonic() - began
    names = [path.relative_to(arguments.images).as_posix() for path in files]
    for row, error in list(found.errors.items())[:10]:
        print(f"skipped: {names[row]}: {error}", file=sys.stderr)
    good = [row for row in range(len(files)) if row not in found.errors]
    if not good:
        raise UserError(f"{arguments.images}: none of the {len(files)} images can be used")
    with replacing(arguments.out) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            names=np.array([names[row] for row in good]),
            embedding=found.embedding[good],
            color_probs=found.color_probs[good],
            type_probs=found.type_probs[good],
            model_hash=np.array(encoder.model_hash),
        )
    print(f"{arguments.out}: {len(good)} of {len(files)} images, {encoder.card.name}, in {seconds:.1f} s")
    if arguments.json:
        summary = {"out": str(arguments.out), "encoded": len(good), "bad": len(found.errors)}
        print(json.dumps({**summary, "seconds": round(seconds, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
