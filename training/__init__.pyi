from .datasets import read_split as read_split
from .evaluation.protocol import Evaluation as Evaluation
from .evaluation.protocol import evaluate_weights as evaluate_weights
from .run.recipe import Recipe as Recipe
from .run.recipe import load_recipe as load_recipe
from .run.trainer import train as train
