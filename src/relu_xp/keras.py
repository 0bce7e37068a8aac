"""Registers the functions with Keras, so that a model that is rebuilt or loaded finds them again.

To import it is enough. Once Keras is imported, relu_xp does so itself.
"""

from relu_xp._backends.keras import Rectifier  # its module registers the functions

__all__ = ["Rectifier"]
