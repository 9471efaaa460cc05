"""Triangle meshes with a texture, and the vehicle that carries one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Mesh:
    """A textured triangle soup.

    Vehicle coordinates: metres, x forward, y to the vehicle's left, z up, the ground at z = 0 and the
    origin under the middle of the body. Triangles run counter-clockwise seen from outside.

    Attributes:
        vertices: float32 [V, 3].
        faces: int32 [F, 3], indices into `vertices`.
        uv: float32 [F, 3, 2], texture coordinates per corner in 0..1. Column = u * T, row = v * T, so (0, 0)
            is the texture's top left corner, as in an image array.
        normals: float32 [F, 3, 3], unit shading normal per corner.
        gloss: float32 [F], 0 matt to 1 mirror-like; an upper bound for the texture's own gloss.
        texture: uint8 [T, T, 4], sRGB red, green, blue, and gloss in 0..255.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    normals: np.ndarray
    gloss: np.ndarray
    texture: np.ndarray

    def face_normals(self) -> np.ndarray:
        """Unit geometric normals, float32 [F, 3]; zero for a degenerate triangle."""
        return triangle_normals(self.vertices[self.faces])


@dataclass
class Vehicle:
    """One identity: what it looks like, where its keypoints are, and what it is called.

    Attributes:
        mesh: the body in vehicle coordinates.
        keypoints: float32 [36, 3], metres, in the order of `keypoints.KEYPOINT_NAMES`.
        keypoint_normals: float32 [36, 3], unit outward normals: a point is turned away from a camera at c
            where `(c - keypoint) @ normal < 0`.
        color: 0-based index into `zoo.labels.COLORS`.
        type: 0-based index into `zoo.labels.TYPES`.
        size: (length, width, height) of the body in metres, without mirrors and roof load.
    """

    mesh: Mesh
    keypoints: np.ndarray
    keypoint_normals: np.ndarray
    color: int
    type: int
    size: tuple[float, float, float]


def triangle_normals(corners: np.ndarray) -> np.ndarray:
    """Unit normals of triangles [F, 3, 3]; zero where a triangle has no area."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return (cross / np.maximum(length, 1e-12) * (length > 1e-10)).astype(np.float32)


@dataclass
class MeshBuilder:
    """Collects triangles with their own corners; `finish` welds equal vertices and hands out a `Mesh`."""

    _corners: list[np.ndarray] = field(default_factory=list)
    _uv: list[np.ndarray] = field(default_factory=list)
    _normals: list[np.ndarray] = field(default_factory=list)
    _gloss: list[np.ndarray] = field(default_factory=list)

    def add(
        self, corners: np.ndarray, uv: np.ndarray, normals: np.ndarray | None = None, gloss: float = 1.0
    ) -> None:
        """Add triangles: corners [F, 3, 3], uv [F, 3, 2] (0..1), corner normals [F, 3, 3] or flat ones."""
        flat = triangle_normals(corners)
        keep = np.any(flat != 0, axis=1)
        if normals is None:
            normals = np.repeat(flat[:, None], 3, axis=1)
        self._corners.append(corners[keep])
        self._uv.append(uv[keep])
        self._normals.append(normals[keep])
        self._gloss.append(np.full(int(keep.sum()), gloss))

    def add_quads(
        self, quads: np.ndarray, uv: np.ndarray, normals: np.ndarray | None = None, gloss: float = 1.0
    ) -> None:
        """Add quads [Q, 4, 3] with uv [Q, 4, 2], counter-clockwise from outside, as two triangles each."""
        split = np.array([[0, 1, 2], [0, 2, 3]])
        corner_normals = None if normals is None else normals[:, split].reshape(-1, 3, 3)
        self.add(quads[:, split].reshape(-1, 3, 3), uv[:, split].reshape(-1, 3, 2), corner_normals, gloss)

    def finish(self, texture: np.ndarray) -> Mesh:
        """Weld the collected triangles into one mesh that wears `texture`."""
        corners = np.concatenate(self._corners).astype(np.float32).reshape(-1, 3)
        _, first, inverse = np.unique(
            np.round(corners * 1e4).astype(np.int64), axis=0, return_index=True, return_inverse=True
        )
        vertices, faces = corners[first], inverse.reshape(-1, 3).astype(np.int32)
        # Slivers thinner than the welding distance have lost their area.
        keep = np.any(triangle_normals(vertices[faces]) != 0, axis=1)
        return Mesh(
            vertices=vertices,
            faces=faces[keep],
            uv=np.clip(np.concatenate(self._uv), 0, 1).astype(np.float32)[keep],
            normals=np.concatenate(self._normals).astype(np.float32)[keep],
            gloss=np.concatenate(self._gloss).astype(np.float32)[keep],
            texture=texture,
        )


def smooth_normals(corners: np.ndarray, crease_degrees: float = 35.0) -> np.ndarray:
    """Corner normals [F, 3, 3] averaged over the neighbours that meet at less than the crease angle."""
    flat = triangle_normals(corners)
    keys = np.round(corners.reshape(-1, 3) * 1e4).astype(np.int64)
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = (np.flatnonzero(np.diff(inverse[order], append=-1)) + 1).tolist()
    owner = np.repeat(np.arange(len(corners)), 3)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    cosine = np.cos(np.radians(crease_degrees))
    normals = np.empty((len(owner), 3))
    start = 0
    for end in ends:
        group = order[start:end]
        own = flat[owner[group]]
        close = (own @ own.T > cosine) * area[owner[group]]
        normals[group] = close @ own
        start = end
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-9, normals / np.maximum(length, 1e-9), flat[owner]).reshape(-1, 3, 3)


def box(minimum: Sequence[float], maximum: Sequence[float]) -> np.ndarray:
    """The six outward quads [6, 4, 3] of an axis-aligned box: front, rear, left, right, top, bottom."""
    x0, y0, z0 = minimum
    x1, y1, z1 = maximum
    return np.array(
        [
            [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
            [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
            [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x1, y0, z1), (x1, y1, z1), (x0, y1, z1), (x0, y0, z1)],
            [(x0, y0, z0), (x0, y1, z0), (x1, y1, z0), (x1, y0, z0)],
        ]
    )
