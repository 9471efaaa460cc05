"""Weather and time of day: what light a camera's street gets."""

from dataclasses import dataclass

import numpy as np

_Color = tuple[float, float, float]

WEATHERS = ("clear", "overcast", "rain", "fog", "dusk", "night")


@dataclass(frozen=True)
class _Look:
    """The attributes of `Weather` that its name alone decides."""

    sun: _Color
    sky: _Color
    zenith: _Color
    horizon: _Color
    haze: float
    wet: float
    gain: float
    noise: float


_LOOKS = {
    "clear": _Look(
        (0.8, 0.74, 0.64), (0.3, 0.35, 0.43), (0.16, 0.32, 0.68), (0.62, 0.72, 0.84), 0.0008, 0, 1.3, 1
    ),
    "overcast": _Look(
        (0.06,) * 3, (0.72, 0.75, 0.79), (0.66, 0.7, 0.76), (0.78, 0.8, 0.83), 0.002, 0, 1.25, 1
    ),
    "rain": _Look((0, 0, 0), (0.46, 0.49, 0.53), (0.4, 0.43, 0.48), (0.52, 0.55, 0.58), 0.01, 1, 1.65, 1.3),
    "fog": _Look((0.02,) * 3, (0.66, 0.68, 0.7), (0.7, 0.71, 0.72), (0.74, 0.75, 0.76), 0.022, 0.3, 0.95, 1),
    "dusk": _Look(
        (0.42, 0.26, 0.13), (0.2, 0.21, 0.27), (0.13, 0.16, 0.3), (0.6, 0.4, 0.28), 0.003, 0, 1.9, 1.5
    ),
    "night": _Look(
        (0.2, 0.15, 0.09), (0.05, 0.05, 0.06), (0.01,) * 3, (0.04, 0.035, 0.04), 0.002, 0.2, 3.4, 2
    ),
}


@dataclass(frozen=True)
class Weather:
    """The light of one street, linear, where a white sheet in full daylight is about 1.

    Attributes:
        name: one of `WEATHERS`.
        sun: unit direction towards the sun (at night: the street lamp), float32 [3].
        sun_color: float32 [3].
        sky_color: light that falls from the sky, float32 [3].
        zenith: colour of the sky overhead, float32 [3].
        horizon: colour of the sky above the roofs, and of haze, float32 [3].
        haze: share of contrast lost per metre.
        wet: 0 dry to 1 soaked ground.
        gain: exposure that an automatic camera chooses.
        noise: factor on the sensor's noise.
    """

    name: str
    sun: np.ndarray
    sun_color: np.ndarray
    sky_color: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    haze: float
    wet: float
    gain: float
    noise: float


def draw_weather(odds: tuple[float, ...], rng: np.random.Generator) -> Weather:
    """Draw one street's weather; `odds` in the order of `WEATHERS`."""
    share = np.asarray(odds) / sum(odds)
    name = WEATHERS[int(rng.choice(len(WEATHERS), p=share))]
    azimuth = rng.uniform(-np.pi, np.pi)
    elevation = np.radians(
        {"dusk": rng.uniform(8, 18), "night": rng.uniform(55, 80)}.get(name, rng.uniform(28, 65))
    )
    sun = (np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation))
    strength = rng.uniform(0.85, 1.1)
    look = _LOOKS[name]
    return Weather(
        name=name,
        sun=np.asarray(sun, np.float32),
        sun_color=np.asarray(look.sun, np.float32) * np.float32(strength),
        sky_color=np.asarray(look.sky, np.float32),
        zenith=np.asarray(look.zenith, np.float32),
        horizon=np.asarray(look.horizon, np.float32),
        haze=look.haze,
        wet=float(look.wet),
        gain=look.gain,
        noise=float(look.noise),
    )
