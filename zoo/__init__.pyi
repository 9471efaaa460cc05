from .card import Card as Card
from .errors import UserError as UserError
from .loading import load_model as load_model
from .loading import read_card as read_card
from .preprocess import ImageError as ImageError
from .registry import create_model as create_model
from .registry import list_archs as list_archs
from .registry import list_models as list_models
