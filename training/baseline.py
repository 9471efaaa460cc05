"""`python -m training.baseline`: colour histograms, what no network is needed for.

A joint histogram of hue, saturation and value of the picture's middle, compared by the Hellinger distance.
What it reaches is the floor that a network has to rise above; where it is high, a data set is solved by
colour alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from training.options import add_data_root
from zoo.command_line import CommandParser
from zoo.errors import exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.baseline",
        examples=["--data-root data/veri"],
        description="Retrieve by colour histograms, by VeRi's protocol.",
    )
    add_data_root(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import numpy as np
    from PIL import Image
    from tqdm import tqdm

    from training.data.images import load_image
    from training.datasets import read_split
    from training.datasets.records import NO_CLASSES, Record
    from training.evaluation.extract import Extracted
    from training.evaluation.protocol import evaluate_embeddings
    from zoo.preprocess import resize

BINS = (16, 8, 8)
"""Of hue, saturation and value."""

CENTER = 0.6
"""Share of each side that is looked at: a crop's rim is mostly street, which only tells the camera."""

SIZE = (64, 64)
"""(height, width) that images are brought to first: the histogram of a large image is no better, only
slower."""


def color_histogram(image: np.ndarray) -> np.ndarray:
    """Describe an image, uint8 [H, W, 3] RGB, by the roots of its middle's HSV histogram: float32 [1024].

    The Euclidean distance of two such vectors is, up to a factor, the Hellinger distance of the histograms.
    """
    top, left = (round(side * (1 - CENTER) / 2) for side in image.shape[:2])
    image = image[top : image.shape[0] - top, left : image.shape[1] - left]
    hsv = np.asarray(Image.fromarray(resize(image, SIZE)).convert("HSV"), np.int64).reshape(-1, 3)
    hue, saturation, value = (hsv * np.array(BINS) // 256).T
    index = (hue * BINS[1] + saturation) * BINS[2] + value
    counts = np.bincount(index, minlength=int(np.prod(BINS)))
    return np.sqrt(counts / len(hsv)).astype(np.float32)


def describe(records: Sequence[Record], description: str) -> np.ndarray:
    """Histograms of records' images, float32 [N, 1024].

    Raises:
        UserError: an image cannot be used.
    """
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda record: color_histogram(load_image(record.path).pixels), records)
        return np.stack(list(tqdm(found, description, len(records), leave=False, unit="img")))


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Evaluate the baseline and print its table."""
    arguments = build_parser().parse_args(argv)
    query, gallery = read_split(arguments.data_root, "query"), read_split(arguments.data_root, "test")
    found = Extracted(describe(query, "query"))
    evaluation = evaluate_embeddings(
        found, describe(gallery, "gallery"), query, gallery, "euclidean", NO_CLASSES
    )
    print(evaluation.table("colour histogram"))
    if arguments.json:
        print(json.dumps(evaluation.figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
