"""Vehicles in a scene over REST."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, UploadFile

from retrieval.gallery.entries import Box
from retrieval.service.problems import UNUSABLE_IMAGE
from retrieval.sources.detector import Detection, Detector
from serving.encoders.image import InputImage
from zoo.preprocess import MAX_BYTES


def add_detect_route(router: APIRouter, detector: Detector | None) -> None:
    """Add the route that finds the vehicles of a scene."""

    @router.post("/detect", responses=UNUSABLE_IMAGE)
    def detect(
        image: Annotated[UploadFile, File(description="a JPEG, PNG, WebP or BMP of a whole scene")],
    ) -> dict[str, Any]:
        """Find the vehicles of a scene, the most certain first; a search takes `detected`, their number."""
        scene = InputImage(image.file.read(MAX_BYTES + 1))
        height, width = scene.size
        found = [asdict(each) for each in vehicles_of(scene, detector)]
        return {"width": width, "height": height, "vehicles": found}


def vehicles_of(scene: InputImage, detector: Detector | None) -> list[Detection]:
    """What a scene shows; 422 where the service has no detector."""
    if detector is None:
        raise HTTPException(422, "this service has no detector; it is started with --detector")
    return detector.find_in(scene)


def box_finder(detector: Detector | None) -> Callable[[InputImage, int], Box]:
    """What gives the box of a scene's vehicle by its number from 1; 422 where there are not so many."""

    def find(scene: InputImage, number: int) -> Box:
        found = vehicles_of(scene, detector)
        if number > len(found):
            raise HTTPException(422, f"`detected` is {number}, and {len(found)} vehicles were found")
        return found[number - 1].box

    return find
