"""The quantised FAISS index: it proposes candidates, and the stored embeddings decide."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from retrieval.gallery.distances import Metric
from retrieval.gallery.ranking import unit_length
from retrieval.local import exact_search
from retrieval.local.candidates import Candidates
from retrieval.local.vectors import StoredVectors
from zoo.camera_means import NO_CAMERA, CameraMeans
from zoo.errors import UserError

CALIBRATION_QUERIES = 60
CALIBRATED_K = 10
WANTED_RECALL = 0.998
"""Of the calibration, above what is promised, because other queries are a little harder."""

TRAINING_ROWS_A_LIST = 48
FIRST_FETCH = 128
_FEWEST_LISTS = 8
_WIDER = 4
"""So many times as many lists are looked at while that brings nearer rows, or they hold few."""
_FEWEST_ROWS = 400

DRIFT = 0.02
"""A camera's mean has moved away from the index's where the squared distance of the two is more than this
share of the pictures' variance: an error that candidates can still be told apart with."""

_SPLIT = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFRaBitQ, faiss.IndexIVFPQ)
"""Kinds that take vectors whose lists are known, and search in lists that they are given."""


Proposed = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Effort:
    """How much of the index a search for a few of all rows looks at, found by measuring its recall.

    Attributes:
        probes: inverted lists, or an HNSW graph's efSearch; 0 for everything, or an index without either.
        recall: what the calibration measured, of its k = 10.
    """

    probes: int = 0
    recall: float = 1.0


class ApproximateIndex:
    """A FAISS index whose ids are the gallery's positions.

    Candidates are found by Euclidean distance; for `cosine`, whose vectors are of unit length, that is the
    same order.

    Attributes:
        means: the camera means that its vectors are centred by; None for vectors as they are. They stay what
            they were when the index was built, while those that the search goes by follow the gallery.
    """

    def __init__(
        self,
        index: faiss.Index,
        factory: str,
        built_rows: int,
        effort: Effort,
        means: CameraMeans | None = None,
    ) -> None:
        self.factory = factory
        self.built_rows = built_rows
        self.effort = effort
        self.means = means
        self._index = index
        kind = faiss.try_extract_index_ivf(index)
        self._lists = 0 if kind is None else int(kind.nlist)
        whole: Any = faiss.downcast_index(index)
        chain: Any = getattr(whole, "chain", None)
        # Centred alone; what a factory string transforms further is put in as a whole.
        is_centred = chain is not None and chain.size() == 1
        self._centre: Any = chain.at(0) if is_centred else None
        self._inner = faiss.downcast_index(whole.index) if is_centred else whole

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(
        cls,
        factory: str,
        vectors: StoredVectors,
        rows: int,
        means: CameraMeans | None = None,
        advance: Callable[[int], object] = lambda _: None,
    ) -> "ApproximateIndex":
        """Train an index on a sample of the first `rows` vectors and put them in.

        Args:
            factory: FAISS's description of the index.
            vectors: centred by `means`, where there are any.
            rows: how many of them.
            means: see the class.
            advance: is told how many vectors have been put in.

        Raises:
            UserError: a factory string that FAISS does not take, or that needs more vectors than there are.
        """
        rng = np.random.default_rng(0)
        try:
            index = _centred(faiss.index_factory(vectors.dimension, factory))
            kind = faiss.try_extract_index_ivf(index)
            lists = 256 if kind is None else int(kind.nlist)
            sample = np.sort(rng.choice(rows, min(rows, TRAINING_ROWS_A_LIST * lists), replace=False))
            index.train(vectors.rows(sample))
            built = cls(index, factory, rows, Effort(), means)
            built.extend(vectors, rows, advance)
        except RuntimeError as error:
            reason = str(error).rpartition(": ")[2].strip() or str(error)
            raise UserError(
                f"the index {factory!r} cannot be made of {rows} vectors of {vectors.dimension} numbers "
                f"({reason}); give --index auto, or another FAISS factory string"
            ) from error
        return built

    def extend(
        self, vectors: StoredVectors, rows: int, advance: Callable[[int], object] = lambda _: None
    ) -> None:
        """Put the vectors that are missing before position `rows` in."""
        while len(self) < rows:
            put_in = self.prepare(vectors, rows)
            before = len(self)
            put_in()
            advance(len(self) - before)

    def prepare(self, vectors: StoredVectors, rows: int) -> Callable[[], None]:
        """Do what can be done for the next missing vectors while others search; at most 16 MB of them.

        Returns:
            what puts them in, quickly; nobody may search meanwhile.
        """
        step = max(1, 2**22 // vectors.dimension)
        fresh = vectors.rows(np.arange(len(self), min(len(self) + step, rows)))
        if not self._lists or type(self._inner) not in _SPLIT:
            return lambda: self._index.add(fresh)
        # Which list a vector belongs into takes nearly all of the time.
        inner: Any = self._inner
        if self._centre is not None:
            fresh = self._centre.apply(fresh)
        _, lists = inner.quantizer.search(fresh, 1)

        def put_in() -> None:
            inner.add_core(len(fresh), faiss.swig_ptr(fresh), None, faiss.swig_ptr(lists))
            self._index.ntotal = inner.ntotal

        return put_in

    def calibrate(self, vectors: StoredVectors, rows: int, metric: Metric) -> None:
        """Find the least effort that reaches `WANTED_RECALL` for new images of the gallery's vehicles.

        Such an image is made up of a stored one and the difference between two of its neighbours, which is
        how two images of one vehicle differ; the stored ones themselves are too easily found.
        """
        sizes = self._sizes()
        if not sizes or rows <= CALIBRATED_K:
            return
        rng = np.random.default_rng(1)
        asked, limits = [], []
        for vector in vectors.rows(rng.choice(rows, min(rows, CALIBRATION_QUERIES), replace=False)):
            found, values = self.search(vectors, vector, 4, None, metric)
            first, second = vectors.rows(found[np.argsort(values)[1:3]])
            query = vector + np.float32(0.7) * (first - second)
            asked.append(unit_length(query) if metric == "cosine" else query)
            near, _ = exact_search.nearest(vectors, asked[-1], CALIBRATED_K, None, metric)
            limits.append(exact_search.at(vectors, asked[-1], near, metric).max())
        vectors.release()
        for probes in sizes:
            self.effort = replace(self.effort, probes=probes)
            shares = []
            for query, limit in zip(asked, limits, strict=True):
                _, values = self.search(vectors, query, CALIBRATED_K, None, metric)
                shares.append(min(1.0, np.count_nonzero(values <= limit) / CALIBRATED_K))
            self.effort = Effort(probes, float(np.mean(shares)))
            if self.effort.recall >= WANTED_RECALL:
                return

    def _sizes(self) -> list[int]:
        """The efforts to choose from, least first."""
        if self._lists:
            return [n for n in (8, 16, 32, 64, 128, 256, 512, 1024) if n < self._lists] + [self._lists]
        return [32, 64, 128, 256, 512, 1024, 2048, 4096] if isinstance(self._inner, faiss.IndexHNSW) else []

    def search(
        self, vectors: StoredVectors, query: np.ndarray, k: int, mask: np.ndarray | None, metric: Metric
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find near vectors among those that the index holds.

        For a few neighbours of all rows the calibrated number of lists is looked at. More neighbours reach
        further, and what a mask allows may lie anywhere in relation to the query, and thinly: more and more
        lists are looked at, the nearest first, until four times as many hold nothing nearer and some hundreds
        of the allowed rows are behind.

        Args:
            mask: bool [N], what may be returned; None for all.

        Returns:
            positions int64 and distances float64, in no order; fewer than k only where the index found fewer.
        """
        found = Candidates(vectors, query, k, metric)
        allowed = len(self) if mask is None else int(np.count_nonzero(mask[: len(self)]))
        parameters, selector = self._parameters(k, mask)
        if (mask is not None or k > 2 * CALIBRATED_K) and type(self._inner) in _SPLIT:
            self._widen(found, query, k, allowed, parameters)
        else:
            self._propose(found, k, allowed, lambda n: self._index.search(query[None], n, params=parameters))
        del selector
        return found.positions, found.values

    def _widen(self, found: Candidates, query: np.ndarray, k: int, allowed: int, parameters: Any) -> None:
        """Look at more and more inverted lists; `allowed` rows lie in all of them."""
        inner: Any = self._inner
        asked = query[None] if self._centre is None else self._centre.apply(query[None])
        distances, lists = inner.quantizer.search(asked, self._lists)
        first, last = 0, max(_FEWEST_LISTS, self.effort.probes // _WIDER)
        while first < self._lists:
            part = np.s_[:, first : min(last, self._lists)]
            nearest = partial(self._in_lists, asked, lists[part].copy(), distances[part].copy(), parameters)
            before = found.kth()
            self._propose(found, k, allowed, nearest)
            if found.kth() == before < np.inf and allowed * last >= _FEWEST_ROWS * self._lists:
                break
            first, last = last, _WIDER * last

    def _propose(self, found: Candidates, k: int, allowed: int, nearest: Callable[[int], Proposed]) -> None:
        """Compare what `nearest` proposes, the more of it the less clear it is that no other is nearer."""
        fetch = min(max(FIRST_FETCH, 3 * k), allowed)
        while fetch:
            estimates, positions = (row[0] for row in nearest(fetch))
            valid = positions >= 0
            is_settled = found.read(positions[valid], estimates[valid].astype(np.float64))
            is_all = fetch == allowed or np.count_nonzero(valid) < fetch
            if is_settled or is_all or 4 * fetch > 2**14:
                return
            fetch = min(4 * fetch, allowed)

    def _in_lists(
        self, query: np.ndarray, lists: np.ndarray, distances: np.ndarray, parameters: Any, fetch: int
    ) -> Proposed:
        """The nearest in some lists: squared distances float32 [1, fetch] and positions int64 [1, fetch].

        Args:
            query: as the inner index has it, float32 [1, D].
            lists: int64 [1, L], and the query's squared `distances` to their centres, float32 [1, L].
            parameters: of the search; nothing else uses them.
            fetch: how many.
        """
        inner: Any = self._inner
        parameters.nprobe = lists.shape[1]
        values, positions = np.empty((1, fetch), np.float32), np.empty((1, fetch), np.int64)
        asked, chosen, far, *found = map(faiss.swig_ptr, (query, lists, distances, values, positions))
        inner.search_preassigned_c(1, asked, fetch, chosen, far, *found, False, parameters)
        return values, positions

    def drifted_cameras(self, means: CameraMeans) -> list[int]:
        """The cameras whose mean has moved too far for the index to find their images: see `DRIFT`."""
        if self.means is None:
            return []
        cameras = np.append(means.cameras, NO_CAMERA)
        moved = means.means - self.means.means[self.means.of(cameras)]
        far = np.square(moved, dtype=np.float64).sum(axis=1) > DRIFT * means.within
        return [int(camera) for camera in cameras[far]]

    def _parameters(self, k: int, mask: np.ndarray | None) -> tuple[faiss.SearchParameters, object]:
        """The search's parameters, and what has to live as long as they."""
        bits = selector = None
        if mask is not None:
            bits = np.packbits(mask[: len(self)], bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        everything = mask is not None or k > 2 * CALIBRATED_K or not self.effort.probes
        name, options = "SearchParameters", dict[str, Any](sel=selector)
        if self._lists:
            kind = faiss.downcast_index(faiss.extract_index_ivf(self._index))
            name = "SearchParametersIVF"
            options["nprobe"] = self._lists if everything else self.effort.probes
            if isinstance(kind, faiss.IndexIVFRaBitQ):
                name, options["qb"] = "IVFRaBitQSearchParameters", 8
            elif isinstance(kind, faiss.IndexIVFPQ):
                name = "IVFPQSearchParameters"
        elif isinstance(self._inner, faiss.IndexHNSW):
            name = "SearchParametersHNSW"
            options["efSearch"] = max(self.effort.probes, 4 * k, 2048 if everything else 0)
        # FAISS's stubs do not know that its parameter classes take keywords.
        made: faiss.SearchParameters = getattr(faiss, name)(**options)
        return made, (bits, selector)

    def write(self, path: Path) -> None:
        """Write the FAISS index."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def read(
        cls, path: Path, factory: str, built_rows: int, effort: Effort, means: CameraMeans | None = None
    ) -> "ApproximateIndex":
        """Read what `write` wrote."""
        return cls(faiss.read_index(str(path)), factory, built_rows, effort, means)


def _centred(index: faiss.Index) -> faiss.Index:
    """Let an index see vectors with the mean of its training taken away.

    Distances stay the same. But FAISS works them out as `|x|^2 + |y|^2 - 2 xy` in float32 when it makes and
    fills lists, and of vectors close together far from 0 that leaves nothing.
    """
    centring: Any = faiss.CenteringTransform(index.d)
    whole = faiss.downcast_index(index)
    if not isinstance(whole, faiss.IndexPreTransform):
        return faiss.IndexPreTransform(centring, index)
    whole.prepend_transform(centring)
    # The factory's indexes own their parts, this one now, too.
    centring.this.disown()
    return index
