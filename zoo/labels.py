"""The names that a vehicle data set speaks in: colours, types, and VeRi's file names."""

import re
from dataclasses import dataclass

COLORS = ("yellow", "orange", "green", "gray", "red", "blue", "white", "golden", "brown", "black")
"""VeRi-776's colours in class order; VeRi's own ids count from 1."""

TYPES = ("sedan", "suv", "van", "hatchback", "mpv", "pickup", "bus", "truck", "estate")
"""VeRi-776's body types in class order; VeRi's own ids count from 1."""

_VERI_NAME = re.compile(
    r"(?P<vehicle>\d+)_c(?P<camera>\d+)_(?P<frame>\d+)_(?P<index>\d+)\.(?:jpg|jpeg|png)", re.I
)


@dataclass(frozen=True)
class VeriName:
    """What a VeRi file name says: `0002_c002_00030600_0.jpg` is vehicle 2 at camera 2, frame 30600."""

    vehicle_id: int
    camera_id: int
    frame: int
    index: int


def parse_veri_name(name: str) -> VeriName | None:
    """Read a file name (without its folder) of VeRi's form, or return None where it is of another form."""
    match = _VERI_NAME.fullmatch(name)
    if match is None:
        return None
    return VeriName(int(match["vehicle"]), int(match["camera"]), int(match["frame"]), int(match["index"]))
