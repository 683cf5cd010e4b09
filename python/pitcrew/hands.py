"""The threads of a worker that runs many calls at once. What they do is in C.

Imported by `_core` when the first of them is started.
"""

from __future__ import annotations

from threading import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def start(work: Callable[[], None], number: int) -> None:
    Thread(target=work, name=f"pitcrew-{number}", daemon=True).start()
