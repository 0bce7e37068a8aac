"""Registers the functions with Keras, so that a model that is rebuilt or loaded finds them again.

Imported for its effect, by users before they load a model; where Keras is imported, relu_xp imports
it itself.
"""

import relu_xp
from relu_xp._backends.keras import Rectifier, register

__all__ = ["Rectifier"]

register(relu_xp)
