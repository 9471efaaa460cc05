"""How strongly the synthetic world disturbs its pictures: one row a level."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """Strengths of every disturbance; a pair is the range of a uniform draw.

    Attributes:
        weather: odds of clear, overcast, rain, fog, dusk and night, in that order, per camera.
        rear_share: share of cameras that mostly see vehicles from behind.
        side_share: share of cameras that mostly see vehicles from the side; the rest see fronts.
        camera_height: metres.
        heading_jitter: degrees, standard deviation of a vehicle's heading about its lane.
        white_balance: standard deviation of the log gains of red and blue, per camera.
        exposure: standard deviation in stops, per camera.
        image_exposure: the same, per picture.
        gamma: exponent of the tone curve, per camera.
        saturation: factor on the distance from gray, per camera.
        blur: lens blur, standard deviation in pixels of a 256 pixel picture, per camera.
        motion: longest motion blur in pixels of a 256 pixel picture.
        noise: standard deviation of the sensor noise at middle gray, 0..255, per camera.
        jpeg: quality of the camera's own compression, per camera.
        resolution: long side that the camera resolves, as a share of the written one, per picture.
        occluder: odds that something stands before the vehicle.
        occluder_share: greatest share of the crop that it covers.
        neighbour: odds of another vehicle in the picture.
        dapple: odds per camera that trees and wires throw shadows on the lane.
        cut: odds that the crop cuts a part of the vehicle off.
        cut_share: share of the box that is cut off one side.
        margin: share of the box that is added on each side where nothing is cut.
    """

    weather: tuple[float, float, float, float, float, float]
    rear_share: float
    side_share: float
    camera_height: tuple[float, float]
    heading_jitter: float
    white_balance: float
    exposure: float
    image_exposure: float
    gamma: tuple[float, float]
    saturation: tuple[float, float]
    blur: tuple[float, float]
    motion: float
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    resolution: tuple[float, float]
    occluder: float
    occluder_share: float
    neighbour: float
    dapple: float
    cut: float
    cut_share: tuple[float, float]
    margin: tuple[float, float]


DIFFICULTIES = {
    "easy": Difficulty(
        weather=(0.6, 0.4, 0.0, 0.0, 0.0, 0.0),
        rear_share=0.2,
        side_share=0.1,
        camera_height=(3.5, 6.0),
        heading_jitter=2.0,
        white_balance=0.04,
        exposure=0.15,
        image_exposure=0.05,
        gamma=(0.95, 1.05),
        saturation=(0.9, 1.1),
        blur=(0.0, 0.4),
        motion=1.0,
        noise=(0.5, 2.0),
        jpeg=(85, 95),
        resolution=(0.9, 1.0),
        occluder=0.0,
        occluder_share=0.0,
        neighbour=0.15,
        dapple=0.1,
        cut=0.03,
        cut_share=(0.02, 0.05),
        margin=(0.02, 0.08),
    ),
    "normal": Difficulty(
        weather=(0.52, 0.36, 0.05, 0.03, 0.03, 0.01),
        rear_share=0.28,
        side_share=0.15,
        camera_height=(3.0, 7.5),
        heading_jitter=3.0,
        white_balance=0.11,
        exposure=0.3,
        image_exposure=0.1,
        gamma=(0.82, 1.2),
        saturation=(0.7, 1.2),
        blur=(0.1, 0.7),
        motion=3.0,
        noise=(1.0, 4.5),
        jpeg=(60, 92),
        resolution=(0.65, 1.0),
        occluder=0.12,
        occluder_share=0.16,
        neighbour=0.25,
        dapple=0.3,
        cut=0.07,
        cut_share=(0.02, 0.08),
        margin=(0.01, 0.1),
    ),
    "hard": Difficulty(
        weather=(0.25, 0.25, 0.15, 0.12, 0.1, 0.13),
        rear_share=0.42,
        side_share=0.16,
        camera_height=(3.0, 8.0),
        heading_jitter=7.0,
        white_balance=0.2,
        exposure=0.55,
        image_exposure=0.25,
        gamma=(0.7, 1.4),
        saturation=(0.35, 1.3),
        blur=(0.4, 1.8),
        motion=10.0,
        noise=(3.0, 12.0),
        jpeg=(25, 80),
        resolution=(0.25, 0.9),
        occluder=0.4,
        occluder_share=0.4,
        neighbour=0.5,
        dapple=0.5,
        cut=0.25,
        cut_share=(0.03, 0.22),
        margin=(0.0, 0.2),
    ),
}
