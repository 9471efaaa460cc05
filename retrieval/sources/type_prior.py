"""What a detector's class says of a vehicle's type: it tells a bus from a car better than a crop does."""

import numpy as np

_LIGHT = frozenset({"sedan", "suv", "van", "hatchback", "mpv", "estate", "coupe", "minivan"})
_FITTING = {
    "car": _LIGHT | {"pickup"},
    "van": frozenset({"van", "mpv", "minivan"}),
    "bus": frozenset({"bus"}),
    "truck": frozenset({"truck", "pickup", "van"}),
}
"""The detector's class -> the types that it may be; COCO calls vans and pickups either car or truck."""

_LEAST = 0.02


def with_prior(type_probs: np.ndarray, types: tuple[str, ...], label: str, score: float) -> np.ndarray:
    """Type probabilities [T] after the detector's word: what does not fit keeps `1 - score` of its weight.

    A class that says nothing of types, or types of other names, change nothing.
    """
    fitting = _FITTING.get(label, frozenset()) & set(types)
    if not fitting or not type_probs.size:
        return type_probs
    weights = np.array([1.0 if name in fitting else max(1 - score, _LEAST) for name in types])
    weighted = type_probs * weights
    return np.asarray(weighted / weighted.sum(), np.float32)
