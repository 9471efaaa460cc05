"""A data loader as re-identification code usually has it, written plainly: the side to compare with.

An image is opened with Pillow, resized, cropped, mirrored, turned into floats and normalised by torchvision,
one after the other in the worker; each of an image's 49 maps goes the same way, and all are joined into one
tensor of 52 channels.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.transforms import functional as F

from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS, POSE_MEAN, POSE_STD


class ReferenceSet(Dataset[tuple[Tensor, int]]):
    """Augmented training images, float32 [3 or 52, H, W], and their labels."""

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], maps: bool) -> None:
        """`maps` adds those of the folders heatmap_train and segment_train beside the images' folder."""
        self.paths, self.size, self.maps = list(paths), size, maps
        self.large = (round(size[0] * 1.125), round(size[1] * 1.125))
        self.normalize = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        enlarge, flip = (bool(torch.rand(()) < 0.5) for _ in range(2))
        room = [large - small if enlarge else 0 for large, small in zip(self.large, self.size, strict=True)]
        top, left = (int(torch.randint(r + 1, ())) for r in room)

        def prepare(file: Path, mode: str) -> Tensor:
            image = Image.open(file).convert(mode)
            image = F.resize(image, list(self.large if enlarge else self.size))
            image = F.crop(image, top, left, *self.size)
            return F.to_tensor(F.hflip(image) if flip else image)

        planes = [self.normalize(prepare(path, "RGB"))]
        if self.maps:
            for kind, count in (("heatmap", NUM_KEYPOINTS), ("segment", NUM_SEGMENTS)):
                folder = path.parent.parent / f"{kind}_train" / path.stem
                planes += [
                    (prepare(folder / f"{number:02d}.jpg", "L") - POSE_MEAN) / POSE_STD
                    for number in range(count)
                ]
        return torch.cat(planes), index
