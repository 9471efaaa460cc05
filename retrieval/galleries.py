"""Open a gallery by its name: a folder of this machine, or a collection in Milvus."""

from pathlib import Path

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Model
from retrieval.local.index_policy import IndexPlan

MILVUS = ("milvus:", "milvus+tls:")
"""What the name of a gallery in Milvus begins with; any other is a folder."""


def open_gallery(
    name: str | Path,
    *,
    model: Model | None = None,
    writable: bool = False,
    index: str | None = None,
    plan: IndexPlan | None = None,
) -> Gallery:
    """Open a gallery; make it when it is opened for writing and is not there.

    Args:
        name: the gallery's folder, `milvus://HOST:PORT/NAME` (with TLS `milvus+tls://`), or
            `milvus:FILE.db` for Milvus Lite.
        model: whose embeddings will be added or searched for; None takes the gallery's word for it.
        writable: only one process at a time can have a folder open for writing.
        index: `auto`, `exact`, or a FAISS factory string, or in Milvus the name of one of its kinds of
            index; a writable gallery then remembers it. None for what it remembers.
        plan: when a folder's indexes and snapshots are made; `index` and what the gallery remembers
            override it.

    Raises:
        UserError: no gallery there, one of another model, or another writer.
    """
    if str(name).startswith(MILVUS):
        from retrieval.milvus.gallery import MilvusGallery

        return MilvusGallery.open_named(str(name), model, writable, index)
    from retrieval.local.gallery import LocalGallery

    return LocalGallery.open_folder(Path(name), model, writable, index, plan)


def recorded_encoder(name: str | Path) -> str:
    """The encoder that a gallery was last filled with; empty where there is no gallery, or none is known.

    Raises:
        UserError: the gallery cannot be read.
    """
    if str(name).startswith(MILVUS):
        from retrieval.milvus import gallery as milvus_gallery

        return milvus_gallery.recorded_encoder(str(name))
    from retrieval.local import gallery as local_gallery

    return local_gallery.recorded_encoder(Path(name))
