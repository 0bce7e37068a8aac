"""Makes Keras know the functions and their operation, so that a model which is rebuilt or loaded has them again.

Imported for its effect, by users before they load a model; where Keras is imported, relu_xp imports
it itself.
"""

import relu_xp
from relu_xp._backends.keras import Rectifier, register

__all__ = ["Rectifier"]

register(relu_xp)
