"""Arrow tables as IPC streams. pyarrow or polars is needed to look into one, and neither to pass it on."""

from __future__ import annotations

import sys

from ._core import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Arrow:
    """An Arrow IPC stream: `data` holds its bytes. Goes back to the VM as it came.

    A table always arrives as this, whichever library is imported. `to_pyarrow()`, `to_pandas()` and `to_polars()` read
    it; so does whatever speaks the Arrow PyCapsule interface: `pyarrow.table(arrow)`.
    """

    __slots__ = ("_buffer",)

    def __init__(self, data: Any) -> None:
        self._buffer = data

    @property
    def data(self) -> bytes:
        """The bytes of the stream. A large one lies in the VM's memory, of which this makes a copy that is kept."""
        if isinstance(self._buffer, memoryview):
            self._buffer = bytes(self._buffer)
        data: bytes = self._buffer
        return data

    def to_pyarrow(self) -> Any:
        """The pyarrow.Table; its columns share the memory that the stream lies in."""
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]

        with pyarrow.ipc.open_stream(self._buffer) as reader:
            return reader.read_all()

    def to_pandas(self) -> Any:
        """The pandas.DataFrame, with the index and the types that it had if it was one before; needs pyarrow."""
        return self.to_pyarrow().to_pandas()

    def to_polars(self) -> Any:
        """The polars.DataFrame, read by polars itself."""
        import polars  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return polars.read_ipc_stream(self.data)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_pyarrow().__arrow_c_stream__(requested_schema)

    def __eq__(self, other: object) -> bool:
        return bytes(self._buffer) == bytes(other._buffer) if isinstance(other, Arrow) else NotImplemented

    def __hash__(self) -> int:
        return hash((Arrow, bytes(self._buffer)))

    def __repr__(self) -> str:
        return f"<pitcrew.Arrow, {len(self._buffer)} bytes>"

    def __reduce__(self) -> tuple[type[Arrow], tuple[bytes]]:
        return Arrow, (bytes(self._buffer),)


# ---- What the encoder calls


def dump(table: Any) -> Any:
    """A buffer with the IPC stream of a pyarrow.Table or RecordBatch, or of a DataFrame of pandas or polars."""
    polars, pandas = sys.modules.get("polars"), sys.modules.get("pandas")
    if polars is not None and isinstance(table, polars.DataFrame):
        return _dump_polars(polars, table)
    if pandas is not None and isinstance(table, pandas.DataFrame):
        table = _table_of(table)
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue()


def _table_of(frame: Any) -> Any:
    """With its index, and in the schema what pandas needs to make the same frame again."""
    try:
        import pyarrow
    except ImportError:
        raise EncodeError("a DataFrame of pandas travels as an Arrow table, which needs pyarrow") from None
    try:
        return pyarrow.Table.from_pandas(frame)
    except pyarrow.ArrowException as error:
        raise EncodeError(f"a DataFrame that Arrow cannot hold: {error}") from None


def _dump_polars(polars: Any, frame: Any) -> Any:
    """In the types of Arrow that every reader knows: text is no string view."""
    import io

    for name, dtype in frame.schema.items():
        if dtype == polars.Object:  # polars would write their addresses; it has none inside of other types
            raise EncodeError(f"a DataFrame that Arrow cannot hold: the column {name!r} has Python objects")
    sink = io.BytesIO()
    try:
        frame.write_ipc_stream(sink, compat_level=polars.CompatLevel.oldest())
    except polars.exceptions.PolarsError as error:
        raise EncodeError(f"a DataFrame that Arrow cannot hold: {error}") from None
    return sink.getbuffer()
