"""The handler that hands records of `logging` to the VM. Imported when `logging` is, see records.py."""

from __future__ import annotations

import logging
import sys

from . import _core
from .fault import bounded

MESSAGE_BYTES = 16 * 1024
NAME_CHARACTERS = 200
PATH_CHARACTERS = 1000
BYTES_PER_CHARACTER = 4

_formatter = logging.Formatter()


class Handler(logging.Handler):
    """Never waits and never fails: what the VM has no room for is dropped and counted."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = text_of(record)
            if not _core.log(
                record.levelno,
                text,
                short(record.name),
                short(record.module),
                short(record.funcName),
                str(record.pathname)[-PATH_CHARACTERS:],
                record.lineno or 0,
                int(record.created * 1_000_000),
            ):
                print(f"{record.levelname}:{record.name}:{text}", file=sys.stderr, flush=True)
        except RecursionError:  # as logging's own handlers do
            raise
        except Exception:
            self.handleError(record)


def attach(level: int) -> None:
    """A logger without a level of its own takes the root's, which is the pool's where nobody has set up handlers."""
    root = logging.getLogger()
    if any(isinstance(handler, Handler) for handler in root.handlers):
        return
    if not root.handlers:
        root.setLevel(level)
    handler = Handler(level)
    root.addHandler(handler)


def text_of(record: logging.LogRecord) -> str:
    """The message, then the exception and the stack if the record brings them."""
    parts = [record.getMessage()]
    if record.exc_info and not record.exc_text:
        record.exc_text = _formatter.formatException(record.exc_info)
    if record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(str(record.stack_info))
    text = "\n".join(parts)
    return text if len(text) * BYTES_PER_CHARACTER <= MESSAGE_BYTES else bounded(text, MESSAGE_BYTES)


def short(text: object) -> str:
    return "" if text is None else str(text)[:NAME_CHARACTERS]
