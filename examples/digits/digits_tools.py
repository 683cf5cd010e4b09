"""The tools of the demo: what Elixir can call."""

from __future__ import annotations

import os

import digits_model
from pitcrew import tool


@tool
def held_out() -> list[int]:
    """Return the indices of the images that the model was not trained on."""
    return digits_model.held_out()


@tool(idempotent=True)
def classify(image: list[int] | bytes) -> dict[str, int]:
    """Return the digit on an image, and the process that looked at it."""
    return {"digit": digits_model.classify(image), "pid": os.getpid()}
