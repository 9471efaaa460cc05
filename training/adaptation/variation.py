"""Pictures as another moment might have shown them: cut, mirrored, in other light, partly covered."""

import numpy as np

from training.data.batches import Failure, Sample
from training.data.transforms import Augmentation, draw_geometry, vary_pixels
from training.evaluation.extract import EvaluationSet
from zoo.errors import UserError

STRONG = Augmentation(crop=1.0, crop_scale=1.25, flip=0.5, erasing=0.5, jitter=0.4)


class VariedSet(EvaluationSet):
    """An evaluation set whose pictures are varied, each always in the same way: for both networks alike."""

    def __getitem__(self, index: int) -> Sample | Failure:
        try:
            rng = np.random.default_rng(index)
            geometry = draw_geometry(rng, self.size, STRONG)
            pixels, _ = self.images.get(index, geometry.resized)
            varied = vary_pixels(geometry.apply(pixels), rng, STRONG)
            return {"image": varied, "label": index, "color": -1, "type": -1}
        except UserError as error:
            return Failure(str(error))
