"""Names that other libraries have for these functions: the error for one tells ours."""

import importlib.util
import re
from types import ModuleType

from relu_xp._functions import (
    CLIPPED_RELU,
    LEAKY_RELU,
    RELU,
    SQUARED_RELU,
    Role,
)

# Parts of such names, in small letters and without underscores.
_RECTIFIERS = {
    CLIPPED_RELU: r"relu[61n]|clip(ped)?re|reluclip|capped|bounded|saturat",
    LEAKY_RELU: r"leaky|parametric|(?<!i)[pl]relu",  # prelu and lrelu, but not cliprelu
    SQUARED_RELU: r"relu(pow(er)?)?2|squared?re|relusqu|sqrelu",
    RELU: r"^d?relu(grad|vjp|deriv|prime|back|layer|$)|(grad|vjp|derivative|back)(of)?relu|rectif",
}
_ROLES: dict[Role, str] = {
    "vjp": r"vjp|back|pull",
    "grad": r"grad|deriv|prime|^d(leaky|p|l|clipped)?relu",
}


def ours(name: str) -> list[str]:
    """List the functions that a name may mean."""
    tried = name.lower().replace("_", "")
    role: Role = next((role for role, parts in _ROLES.items() if re.search(parts, tried)), "value")
    meant = [each for each, parts in _RECTIFIERS.items() if re.search(parts, tried)]
    return [str(each if role == "value" else getattr(each, role)) for each in meant]


def no_attribute(module: ModuleType, name: str) -> AttributeError:
    """Return the error for a name that relu_xp does not have."""
    text = f"module {module.__name__!r} has no attribute {name!r}"
    if not name.startswith("_"):
        if importlib.util.find_spec(f"{module.__name__}.{name}"):
            return AttributeError(
                f"{text}; it is a module of its own, import {module.__name__}.{name}"
            )
        if meant := ours(name):
            # Without `name` and `obj`: Python would add a suggestion of its own to ours.
            return AttributeError(f"{text}; ours is {' or '.join(meant)}")
    return AttributeError(text, name=name, obj=module)
