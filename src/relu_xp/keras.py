"""Registers the functions with Keras, so that a model that is rebuilt or loaded finds them again.

Import this module before you load a model, unless relu_xp is imported: that imports this module as
soon as Keras is there.
"""

from relu_xp._backends.keras import Rectifier  # its module registers the functions

__all__ = ["Rectifier"]
