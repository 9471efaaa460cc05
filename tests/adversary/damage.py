"""Damage as disks, copies and people do it."""

import random
from pathlib import Path

PAGE = 4096


def damage(path: Path, chance: random.Random) -> str:
    """Change a file in a random way; return what was done."""
    data = bytearray(path.read_bytes())
    size = len(data)
    kind = chance.choice(["bits", "zeros", "noise", "cut", "more", "moved", "empty", "gone"])
    place = chance.randrange(max(1, size))
    page = place - place % PAGE
    end = min(size, page + PAGE)
    if kind == "bits" and size:
        for _ in range(chance.choice([1, 1, 1, 20])):
            data[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "zeros":
        data[page:end] = bytes(end - page)
    elif kind == "noise":
        data[page:end] = chance.randbytes(end - page)
    elif kind == "cut":
        del data[place:]
    elif kind == "more":
        data += chance.randbytes(chance.choice([1, 100, PAGE]))
    elif kind == "moved":
        # A page that was written to another one's place.
        other = chance.randrange(max(1, size)) // PAGE * PAGE
        data[page:end] = data[other : other + (end - page)]
    elif kind == "empty":
        data.clear()
    if kind == "gone":
        path.unlink()
    else:
        path.write_bytes(data)
    return f"{kind} at {place} of {size} bytes in {path.name}"
