"""The model of the demo: scikit-learn and nothing of Pitcrew.

Importing this module trains the classifier once. The tools module imports it in the zygote, before
the workers are forked, so that every worker shares the one model; reference.py imports it in an
ordinary Python process.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

SEED = 0

_pixels, _labels = load_digits(return_X_y=True)
_train, _held_out = train_test_split(np.arange(len(_labels)), test_size=0.3, random_state=SEED, stratify=_labels)
_model = HistGradientBoostingClassifier(max_iter=40, learning_rate=0.2, max_leaf_nodes=15, random_state=SEED).fit(
    _pixels[_train], _labels[_train]
)


def held_out() -> list[int]:
    """Return the indices of the 30 % of the images that the model has not seen."""
    return sorted(int(index) for index in _held_out)


def classify(image: list[int] | bytes) -> int:
    """Return the digit on an image of 8 x 8 pixels (0 to 16), row by row, as numbers or as bytes."""
    if isinstance(image, bytes):
        row = np.frombuffer(image, dtype=np.uint8)
    else:
        row = np.asarray(image)
    return int(_model.predict(row.reshape(1, 64))[0])
