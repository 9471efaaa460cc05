from .bundle import Bundle as Bundle
from .conversion.bundling import export_bundle as export_bundle
from .encoders.encoder import AsyncEncoder as AsyncEncoder
from .encoders.encoder import Encoder as Encoder
from .encoders.encoder import open_encoder as open_encoder
from .encoders.image import InputImage as InputImage
from .encoders.predictions import Predictions as Predictions
from .server.server import TritonServer as TritonServer
