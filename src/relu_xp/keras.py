"""For those who load a saved Keras model with these functions in it: imported, it makes Keras know their operation."""

from relu_xp._backends.keras import Rectifier

__all__ = ["Rectifier"]
