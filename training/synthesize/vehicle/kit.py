"""Builder and atlas in one hand, for parts that are plain boxes."""

from dataclasses import dataclass

import numpy as np

from training.synthesize.renderer.mesh import MeshBuilder, box
from training.synthesize.vehicle.atlas import Atlas

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Kit:
    """Adds parts to `builder` that wear plain colours of `atlas`."""

    builder: MeshBuilder
    atlas: Atlas

    def box(self, low: Point, high: Point, swatch: str, taper: float = 0.0) -> None:
        """Add a plain box; `taper` draws its top edges in by that many metres."""
        quads = box(low, high)
        if taper:
            middle = (np.array(low) + np.array(high)) / 2
            inset = np.sign(middle - quads) * taper
            inset[..., 2] = 0
            quads = quads + inset * (quads[..., 2:] > middle[2])
        self.builder.add_quads(quads, self.atlas.swatch_uv(swatch, (6, 4)), None, 0.6)
