"""From light to the bytes of a picture: lens, motion, sensor, tone curve, compression."""

from dataclasses import dataclass

import cv2
import numba
import numpy as np

from training.synthesize.randomness import stream

_CURVE = 2048
"""Entries of the tone curve's table."""


@dataclass(frozen=True)
class Sensor:
    """What a camera's lens and electronics do to its pictures; units as in `Difficulty`.

    Attributes:
        gains: factors on red, green and blue.
        stops: exposure.
        gamma: exponent of the tone curve.
        saturation: factor on the distance from gray.
        blur: standard deviation in pixels of a 256 pixel picture.
        noise: standard deviation at middle gray, 0..255.
        jpeg: quality of the camera's own compression.
    """

    gains: np.ndarray
    stops: float
    gamma: float
    saturation: float
    blur: float
    noise: float
    jpeg: int


@dataclass(frozen=True)
class Exposure:
    """What differs from picture to picture of one camera.

    Attributes:
        stops: exposure beside the camera's own.
        gains: factors on red, green and blue beside the camera's own.
        motion: (x, y) pixels that the vehicle moves while the shutter is open.
        seed: picks the noise.
    """

    stops: float
    gains: np.ndarray
    motion: tuple[float, float]
    seed: int


class Grain:
    """A sheet of Gaussian noise that every picture takes another piece of: far cheaper than fresh noise."""

    def __init__(self, size: int) -> None:
        self._side = size * 2 + 64
        rng = stream(0, "grain", size)
        self._sheet = rng.standard_normal((self._side, self._side, 3)).astype(np.float32)

    def piece(self, height: int, width: int, seed: int) -> np.ndarray:
        """Float32 [height, width, 3]."""
        top = seed % (self._side - height)
        left = (seed // self._side) % (self._side - width)
        return self._sheet[top : top + height, left : left + width]


def expose(light: np.ndarray, sensor: Sensor, exposure: Exposure, gain: float, grain: Grain) -> np.ndarray:
    """Turn linear light float32 [H, W, 3] into the picture that the camera hands out, uint8 [H, W, 3] RGB."""
    scale = max(light.shape[:2]) / 256
    length = float(np.hypot(*exposure.motion))
    if length > 1.2:
        light = cv2.filter2D(light, -1, _streak(exposure.motion))
    sigma = sensor.blur * scale
    if sigma > 0.25:
        light = cv2.GaussianBlur(light, (0, 0), sigma)
    gains = sensor.gains * exposure.gains * np.float32(gain * 2 ** (sensor.stops + exposure.stops))
    piece = grain.piece(light.shape[0], light.shape[1], exposure.seed)
    picture = np.empty(light.shape, np.uint8)
    _develop(
        np.ascontiguousarray(light),
        gains.astype(np.float32),
        _tone_curve(sensor.gamma),
        sensor.saturation,
        sensor.noise,
        piece,
        picture,
    )
    return compress(picture, sensor.jpeg)


def compress(picture: np.ndarray, quality: int) -> np.ndarray:
    """What is left of `picture`, uint8 [H, W, 3] RGB, after JPEG of `quality`."""
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(picture, quality), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV reads what it wrote"
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of an RGB or gray uint8 picture."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def add_glow(light: np.ndarray, places: np.ndarray, color: np.ndarray, radius: float) -> None:
    """Add lamps with a halo to `light` [H, W, 3] in place; places [N, 2] in pixels, radius of the lamp."""
    rows, columns = np.mgrid[0 : light.shape[0], 0 : light.shape[1]].astype(np.float32)
    for x, y in places:
        far2 = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
        light += (np.exp(-far2) * 2.5 + 0.15 / (1 + far2 * 0.3))[..., None] * color


def add_rain(light: np.ndarray, amount: int, rng: np.random.Generator) -> None:
    """Draw `amount` bright streaks into `light` in place."""
    height, width = light.shape[:2]
    slant = rng.normal(0, 0.12)
    veil = np.zeros((height, width), np.float32)
    for x, y, length in zip(
        rng.uniform(0, width, amount),
        rng.uniform(-0.1, 1, amount) * height,
        rng.uniform(0.03, 0.1, amount),
        strict=True,
    ):
        end = (int(x + slant * length * height), int(y + length * height))
        cv2.line(veil, (int(x), int(y)), end, 0.12, 1, cv2.LINE_AA)
    light += veil[..., None] * 0.6


def _streak(motion: tuple[float, float]) -> np.ndarray:
    """Kernel of a straight smear of `motion` pixels, summing to 1."""
    reach = int(np.ceil(np.hypot(*motion) / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    half = np.asarray(motion) / 2
    ends = [tuple(round((reach + sign * float(v)) * 16) for v in half) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return kernel / max(float(kernel.sum()), 1e-6)


def _tone_curve(gamma: float) -> np.ndarray:
    """Linear light 0..4 to 0..255: sRGB with a shoulder for the highlights, float32 [_CURVE]."""
    light = np.arange(_CURVE) / (_CURVE - 1) * 4
    knee = 0.75
    soft = np.where(light < knee, light, knee + (1 - knee) * (1 - np.exp(-(light - knee) / (1 - knee))))
    shown = np.where(soft <= 0.0031308, soft * 12.92, 1.055 * np.maximum(soft, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * np.clip(shown, 0, 1) ** gamma).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _develop(
    light: np.ndarray,
    gains: np.ndarray,
    curve: np.ndarray,
    saturation: float,
    noise: float,
    grain: np.ndarray,
    picture: np.ndarray,
) -> None:
    """Gains, tone curve, saturation and noise, pixel by pixel."""
    top = curve.shape[0] - 1
    for row in range(light.shape[0]):
        for column in range(light.shape[1]):
            red = curve[min(top, max(0, int(light[row, column, 0] * gains[0] * 0.25 * top)))]
            green = curve[min(top, max(0, int(light[row, column, 1] * gains[1] * 0.25 * top)))]
            blue = curve[min(top, max(0, int(light[row, column, 2] * gains[2] * 0.25 * top)))]
            gray = 0.299 * red + 0.587 * green + 0.114 * blue
            # Shot noise: the darker parts of a brightened picture are the grainier ones.
            rough = noise * (1.25 - gray / 512.0)
            red = gray + (red - gray) * saturation + rough * grain[row, column, 0]
            green = gray + (green - gray) * saturation + rough * grain[row, column, 1]
            blue = gray + (blue - gray) * saturation + rough * grain[row, column, 2]
            picture[row, column, 0] = int(min(255.0, max(0.0, red + 0.5)))
            picture[row, column, 1] = int(min(255.0, max(0.0, green + 0.5)))
            picture[row, column, 2] = int(min(255.0, max(0.0, blue + 0.5)))
