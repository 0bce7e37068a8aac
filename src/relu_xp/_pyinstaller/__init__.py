"""Tells PyInstaller, by the entry point in pyproject.toml, where its hook for relu_xp is."""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of the hook."""
    return [str(Path(__file__).parent)]
