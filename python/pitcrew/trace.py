"""The trace that the running call is a part of, as W3C has it: what its caller gave, or was itself called with.

import pitcrew

requests.get(url, headers=pitcrew.trace_context())

Where the API of OpenTelemetry is installed it knows of that trace as well: spans of a tool are children of its
caller's.
"""

from __future__ import annotations

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_propagator: Any = None
_context: Any = None
_looked = False


def trace_context() -> dict[str, str]:
    """`traceparent`, and `tracestate` if there is one, as HTTP headers have them; empty where there is no trace."""
    pair = _core.trace.get(None)
    if pair is None:
        return {}
    parent, state = pair
    return {"traceparent": parent} if state is None else {"traceparent": parent, "tracestate": state}


def attach(pair: tuple[str, str | None]) -> object:
    """Tells OpenTelemetry; what comes back is for detach, or None."""
    if not _looked:
        _look()
    if _propagator is None:
        return None
    token: object = _context.attach(_propagator.extract(trace_context()))
    return token


def detach(token: object) -> None:
    _context.detach(token)


def _look() -> None:
    """Once: importing what is not there takes its time, too. An OpenTelemetry that cannot be imported is none."""
    global _looked, _propagator, _context
    try:
        from importlib import import_module

        context = import_module("opentelemetry.context")
        tracecontext = import_module("opentelemetry.trace.propagation.tracecontext")
        propagator = tracecontext.TraceContextTextMapPropagator()
    except Exception:
        _looked = True
        return
    _context, _propagator = context, propagator
    _looked = True
