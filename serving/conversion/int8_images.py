"""What int8 is calibrated on: prepared inputs of real images, the same ones in every run."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from serving.conversion.training_command import training_images
from zoo.card import Card
from zoo.errors import UserError
from zoo.files import is_endless
from zoo.pose import POSE_DTYPES
from zoo.preprocess import ImageError, read_image, resize

NUM_IMAGES = 128
"""More change the ranges no longer; calibration holds every layer's output of all of them."""

_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"}

Inputs = dict[str, np.ndarray]
"""A batch by input name, the batch axis first."""


def read_calibration(source: str | Path, card: Card, count: int = NUM_IMAGES) -> Inputs:
    """Read calibration inputs.

    Args:
        source: a folder of images, a data set, `[NAME:]PATH`, of which the training images are taken, or an
            `.npz` file with an array for each input, which is what a model with pose inputs needs.
        card: of the model.
        count: images to take, evenly spread over the names in order.

    Raises:
        UserError: nothing usable is there.
    """
    if Path(source).suffix == ".npz":
        return _read_arrays(Path(source), card, count)
    if card.pose_inputs:
        raise UserError(
            f"{card.name}: takes {', '.join(card.pose_inputs)} with each image; calibrate it with an .npz "
            "file that holds an array for each input (docs/export.md)"
        )
    paths = training_images(str(source))
    if paths is None:  # no data set, so there are no test images either
        found = (path for path in Path(source).rglob("*") if path.suffix.lower() in _SUFFIXES)
        paths = sorted(path for path in found if not is_endless(path))
    if not paths:
        raise UserError(f"{source}: no images to calibrate with; name a folder of images like those served")
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))]
    try:
        return {
            "image": np.stack(
                [resize(read_image(path).pixels, card.input_size, card.antialias) for path in chosen]
            )
        }
    except ImageError as error:
        raise UserError(str(error)) from error


def _read_arrays(path: Path, card: Card, count: int) -> Inputs:
    shapes = {"image": (*card.input_size, 3), **card.pose_inputs}
    dtypes = {"image": "uint8", **POSE_DTYPES}
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name][:count] for name in shapes if name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); write it with numpy.savez") from error
    for name, shape in shapes.items():
        have = None if name not in found else (str(found[name].dtype), found[name].shape[1:])
        if have != (dtypes[name], shape):
            raise UserError(f"{path}: {name} must be {dtypes[name]} {['N', *shape]}, but is {have}")
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise UserError(f"{path}: its arrays must hold the same images, at least one")
    return found
