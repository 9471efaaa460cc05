"""Which encoder goes with a gallery."""

from pathlib import Path

from retrieval.galleries import recorded_encoder
from retrieval.gallery.entries import Model
from serving.encoders.encoder import PATH_PREFIXES, Encoder, open_encoder
from zoo.errors import UserError

_TRITON = "triton:"


def open_model(
    gallery: str | Path, spec: str | None = None, threads: int | None = None
) -> tuple[Encoder, Model]:
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
        if not spec:
            raise UserError(
                f"{gallery}: no encoder is recorded there; name one with --encoder (a bundle, or "
                "triton:grpc://HOST:PORT)"
            )
    elif not spec.startswith(_TRITON):
        # The gallery remembers it, and the next command may run in another folder.
        prefix = next((each for each in PATH_PREFIXES if spec.startswith(each)), "")
        spec = prefix + str(Path(spec.removeprefix(prefix)).resolve())
    encoder = open_encoder(spec, threads)
    return encoder, Model(encoder.card, encoder.model_hash, spec)
