"""pitcrew._core, in C: c_src/python. Private."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal, NoReturn, SupportsFloat, final, overload

from _typeshed import ReadableBuffer as Buffer

__version__: str
PROTOCOL: int
MAX_DEPTH: int
MAX_FRAME: int
KIND_AUTH: int
KIND_HELLO: int
KIND_READY: int
KIND_CALL: int
KIND_REPLY: int
KIND_ERROR: int
KIND_CHUNK: int
KIND_END: int
KIND_CREDIT: int
KIND_SHUTDOWN: int
KIND_FORGET: int
KIND_PING: int
KIND_PONG: int
KIND_CANCEL: int
KIND_EVENT: int
KIND_LOG: int
KIND_STATS: int
KIND_CANCELLED: int
trace: ContextVar[tuple[str, str | None] | None]

Binary = dict[int | str, Any] | None
Served = tuple[Callable[..., Any], Binary] | tuple[Callable[..., Any], Binary, Binary]

class Error(Exception): ...

class EncodeError(Error):
    path: tuple[object, ...]
    reason: str

class DecodeError(Error):
    path: tuple[object, ...]
    reason: str

class ProtocolError(Error): ...

class Refused(Error):
    def __init__(self, kind: str, message: str) -> None: ...

class Cancelled(BaseException): ...
class Atom(str): ...

class FrozenList(list[Any]):
    def __hash__(self) -> int: ...  # type: ignore[override]

class FrozenDict(dict[Any, Any]):
    def __hash__(self) -> int: ...  # type: ignore[override]

@final
class Function:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class Block:
    def give(self, address: int, n: int, /) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def tell(function: Function, args: list[int], /) -> None: ...
def vm_tool(name: str, /) -> Function: ...
def deadline() -> float | None: ...
def encode(value: object, /) -> bytes: ...
def decode(data: Buffer, /) -> Any: ...
def packb(
    value: object,
    /,
    *,
    default: Callable[[Any], object] | None = None,
    types: Literal["plain", "pitcrew"] = "plain",
    use_bin_type: bool = True,
    datetime: bool = False,
    unicode_errors: str | None = None,
    max_depth: int = 512,
    max_size: int = ...,
) -> bytes: ...
def unpackb(
    data: Buffer,
    /,
    *,
    types: Literal["plain", "pitcrew"] = "plain",
    raw: bool = False,
    use_list: bool = True,
    strict_map_key: bool = ...,
    keys: Literal["dict", "strict"] = "dict",
    timestamp: Literal[0, 1, 2, 3] = ...,
    ext_hook: Callable[[int, bytes], object] | None = None,
    unicode_errors: str | None = None,
    max_depth: int = 512,
    max_size: int = ...,
) -> Any: ...
@final
class Unpacker:
    def __init__(
        self,
        *,
        types: Literal["plain", "pitcrew"] = "plain",
        raw: bool = False,
        use_list: bool = True,
        strict_map_key: bool = ...,
        keys: Literal["dict", "strict"] = "dict",
        timestamp: Literal[0, 1, 2, 3] = ...,
        ext_hook: Callable[[int, bytes], object] | None = None,
        unicode_errors: str | None = None,
        max_depth: int = 512,
        max_size: int = 104857600,
    ) -> None: ...
    def feed(self, data: Buffer, /) -> None: ...
    def tell(self) -> int: ...
    @property
    def buffered(self) -> int: ...
    def __iter__(self) -> Unpacker: ...
    def __next__(self) -> Any: ...

def register_type(type: type, encode: Callable[[Any], object], /) -> None: ...
def session_id() -> int: ...
def session_state() -> dict[Any, Any]: ...
def live_sessions() -> int: ...
def live_refs() -> int: ...
def connect(path: str, token: bytes, role: Literal["call", "side"], /) -> int: ...
def read_hello(fd: int, /) -> tuple[list[Any] | None, list[int]]: ...
def open_buffers(fd: int, most: int, /) -> None: ...
def block(n: int, /) -> Block: ...
def write_frame(fd: int, frame: list[Any] | bytes, /) -> None: ...
def log(
    level: int, message: str, logger: str, module: str, function: str, path: str, line: int, time_us: int, /
) -> bool: ...
def emit(
    name: str | Sequence[str],
    measurements: Mapping[str, SupportsFloat] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> bool: ...
def emit_span(
    name: tuple[str, ...],
    duration_ns: int,
    measurements: Mapping[str, SupportsFloat] | None,
    metadata: Mapping[str, object] | None,
    /,
) -> bool: ...
def open_events(credit: int, /) -> None: ...
def limit(name: str, value: int, /) -> None: ...
def around(callable: Callable[..., Any] | None, /) -> None: ...
def serve(
    call_fd: int,
    side_fd: int,
    tools: dict[str, Served],
    max_frame: int = ...,
    max_depth: int = ...,
    spin_us: int = 0,
    started_fd: int = -1,
    log_credit: int = 0,
    missing: Callable[[str], tuple[Callable[..., Any], bool] | None] = ...,
    concurrency: int = 1,
) -> Literal["eof", "shutdown"]: ...
@overload
def zygote_loop(link_fd: int, argv: None, /) -> tuple[int, dict[str, Any]]: ...
@overload
def zygote_loop(link_fd: int, argv: list[str], /) -> NoReturn: ...
