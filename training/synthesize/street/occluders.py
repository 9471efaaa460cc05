"""What stands between camera and vehicle: poles, signs, leaves, a fence."""

import cv2
import numpy as np


def draw_occluder(
    picture: np.ndarray, daylight: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw one occluder into `picture`, linear light float32 [H, W, 3], in place.

    Args:
        daylight: light on an upright surface, float32 [3].
        share: greatest share of the picture that it covers.

    Returns:
        The covered pixels, bool [H, W].
    """
    height, width = picture.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    kind = rng.choice(["pole", "sign", "leaves", "fence"], p=[0.35, 0.15, 0.35, 0.15])
    if kind in ("pole", "sign"):
        tone = rng.uniform(0.05, 0.4) * np.array([1, 1, 1 + rng.normal(0, 0.1)])
        thick = width * rng.uniform(0.03, max(0.035, min(0.1, share * 0.5)))
        middle = width * (rng.uniform(0.05, 0.35) if rng.random() < 0.5 else rng.uniform(0.65, 0.95))
        columns = np.arange(width) + 0.5
        inside = np.clip(thick / 2 - np.abs(columns - middle) + 0.5, 0, 1)
        round_off = np.sqrt(np.clip(1 - ((columns - middle) / (thick / 2 + 0.5)) ** 2, 0.05, 1))
        alpha[:] = inside
        paint = np.empty_like(picture)
        paint[:] = tone * daylight
        paint *= (0.45 + 0.55 * round_off)[None, :, None]
        if kind == "sign":
            wide = int(np.sqrt(share * 0.5) * width * rng.uniform(0.5, 1))
            tall = int(np.sqrt(share * 0.5) * height * rng.uniform(0.5, 1))
            left, top = int(middle - wide / 2), int(rng.uniform(-0.3, 0.25) * tall)
            color = [(0.03, 0.1, 0.45), (0.02, 0.25, 0.1), (0.75, 0.75, 0.75), (0.5, 0.05, 0.04)][
                int(rng.integers(4))
            ]
            cv2.rectangle(alpha, (left, top), (left + wide, top + tall), 1.0, -1)
            cv2.rectangle(
                paint, (left, top), (left + wide, top + tall), [float(c) for c in color * daylight], -1
            )
    elif kind == "leaves":
        paint, alpha = _leaves(picture.shape[:2], daylight, share, rng)
    else:
        bar = max(2, int(height * rng.uniform(0.02, 0.05)))
        bottom = height - int(height * rng.uniform(0, min(0.25, share)))
        for line in (bottom - bar, bottom - bar * 4):
            alpha[max(line, 0) : line + bar] = 1
        post = int(width * rng.uniform(0.25, 0.5))
        for column in range(int(rng.integers(0, post)), width, post):
            alpha[max(bottom - bar * 5, 0) :, column : column + bar] = 1
        paint = np.empty_like(picture)
        paint[:] = rng.uniform(0.2, 0.6) * daylight
    alpha3 = alpha[..., None]
    picture *= 1 - alpha3
    picture += paint * alpha3
    return alpha > 0.5


def _leaves(
    shape: tuple[int, int], daylight: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A bough that hangs in from one corner or side: its light [H, W, 3] and opacity [H, W]."""
    height, width = shape
    paint = np.zeros((height, width, 3), np.float32)
    alpha = np.zeros((height, width), np.float32)
    anchor = np.array([rng.choice([0, width]), rng.uniform(0, 0.9) * height])
    reach = np.sqrt(share) * max(height, width) * 0.75
    size = max(2, int(max(height, width) * rng.uniform(0.012, 0.03)))
    base = np.array([rng.uniform(0.03, 0.09), rng.uniform(0.1, 0.22), rng.uniform(0.02, 0.06)])
    for _ in range(int(rng.integers(60, 160))):
        centre = anchor + rng.normal(0, 0.4, 2) * reach
        tone = base * rng.uniform(0.4, 1.5) * daylight
        place = (int(centre[0]), int(centre[1]))
        axes = (size, max(1, int(size * rng.uniform(0.3, 0.6))))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(paint, place, axes, angle, 0, 360, [float(c) for c in tone], -1)
        cv2.ellipse(alpha, place, axes, angle, 0, 360, 1.0, -1)
    return paint, cv2.GaussianBlur(alpha, (0, 0), 0.5)
