"""Which colour and body type a vehicle number stands for."""

from training.synthesize.randomness import seed_of, stream
from training.synthesize.vehicle.build import Vehicle, build_vehicle
from zoo.labels import COLORS, TYPES

FIRST_ID = {"train": 1, "test": 5001}
"""Vehicle ids of the two splits never meet, however many vehicles either has."""

MAX_IDS = 4999
"""Vehicles that a split can have: ids keep four digits."""

_COLOR_DECK = {"white": 9, "black": 7, "gray": 6, "red": 4, "blue": 4, "golden": 3, "yellow": 2, "green": 2,
               "brown": 2, "orange": 1}  # fmt: skip
_TYPE_DECK = {"sedan": 11, "suv": 8, "hatchback": 5, "van": 4, "mpv": 3, "truck": 3, "pickup": 2, "bus": 2,
              "estate": 2}  # fmt: skip
"""Cards of a deck of 40: as uneven as a street, and everything occurs within 40 vehicles."""


def color_and_type(seed: int, split: str, number: int) -> tuple[int, int]:
    """0-based colour and type of vehicle `number` of a split: dealt from shuffled decks of 40."""
    deck, place = divmod(number, 40)
    rng = stream(seed, "deck", split, deck)
    colors = [COLORS.index(name) for name, count in _COLOR_DECK.items() for _ in range(count)]
    types = [TYPES.index(name) for name, count in _TYPE_DECK.items() for _ in range(count)]
    return colors[rng.permutation(40)[place]], types[rng.permutation(40)[place]]


def make_vehicle(seed: int, split: str, number: int) -> Vehicle:
    """Build vehicle `number` of a split; depends on nothing but the arguments."""
    color, kind = color_and_type(seed, split, number)
    return build_vehicle(seed_of(seed, "vehicle", split, number), color, kind)
