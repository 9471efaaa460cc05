"""Open a gallery by its name: a folder of this machine, or a collection in Milvus; and the encoder of it."""

from pathlib import Path

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import GalleryModel
from retrieval.local.index_policy import IndexPolicy
from serving.encoders.encoder import Encoder, model_path, open_encoder
from zoo.errors import UserError

MILVUS = ("milvus:", "milvus+tls:")
"""What the name of a gallery in Milvus begins with; any other is a folder."""


def open_gallery(
    name: str | Path,
    *,
    model: GalleryModel | Encoder | None = None,
    writable: bool = False,
    index: str | None = None,
    policy: IndexPolicy | None = None,
    camera_centring: bool | None = None,
) -> Gallery:
    """Open a gallery; make it when it is opened for writing and is not there.

    Args:
        name: the gallery's folder, `milvus://HOST:PORT/NAME` (with TLS `milvus+tls://`), or
            `milvus:FILE.db` for Milvus Lite.
        model: whose embeddings will be added or searched for, or the encoder that makes them; None takes the
            gallery's word for it.
        writable: only one process at a time can have a folder open for writing.
        index: `auto`, `exact`, or a FAISS factory string, or in Milvus the name of one of its kinds of
            index; a writable gallery then remembers it. None for what it remembers.
        policy: when a folder's indexes and snapshots are made; `index` and what the gallery remembers
            override it.
        camera_centring: whether searches take each camera's mean embedding away; a writable gallery then
            remembers it. None for what it remembers, which is not to unless it was told.

    Raises:
        UserError: no gallery there, one of another model, or another writer.
    """
    if model is not None and not isinstance(model, GalleryModel):
        model = _model_of(model)
    if str(name).startswith(MILVUS):
        from retrieval.milvus.gallery import MilvusGallery

        return MilvusGallery.open_named(str(name), model, writable, index, camera_centring)
    from retrieval.local.gallery import LocalGallery

    return LocalGallery.open_folder(Path(name), model, writable, index, policy, camera_centring)


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


def open_gallery_encoder(
    gallery: str | Path, spec: str | None = None, threads: int | None = None
) -> tuple[Encoder, GalleryModel]:
    """Open the encoder that `spec` names, or the one that the gallery was made with.

    Args:
        gallery: as `open_gallery` takes it.
        spec: as `serving.encoders.encoder.open_encoder` takes it; None for the gallery's own.
        threads: see `serving.encoders.encoder.open_encoder`.

    Raises:
        UserError: no encoder is named and the gallery knows none, or it cannot be opened.
    """
    if not spec:
        spec = recorded_encoder(gallery)
        if not spec and not str(gallery).startswith(MILVUS) and not Path(gallery).exists():
            raise UserError(
                f"{gallery}: no such folder; mend the path, or name a new gallery's encoder with --encoder"
            )
        if not spec:
            raise UserError(
                f"{gallery}: no encoder is recorded there; name one with --encoder (a model's name, a "
                "bundle, or triton:grpc://HOST:PORT)"
            )
        if (path := model_path(spec)) is not None and not path.exists():
            # Exporting one anew would make another model, whose embeddings cannot be compared with these.
            raise UserError(
                f"{gallery}: was made with {path}, which is not there any more; name with --encoder where it "
                "is now, or copy it there from a backup"
            )
    encoder = open_encoder(spec, threads)
    return encoder, _model_of(encoder)


def _model_of(encoder: Encoder) -> GalleryModel:
    return GalleryModel(encoder.card, encoder.model_hash, encoder.spec)
