"""Arrow tables as IPC streams. pyarrow is needed to look into one, and not to pass it on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Arrow:
    """An Arrow IPC stream: `data` holds its bytes. Goes back to the VM as it came.

    A table always arrives as this, whether pyarrow is imported or not. `to_pyarrow()` reads it; so does whatever speaks
    the Arrow PyCapsule interface: `pyarrow.table(arrow)`, `polars.DataFrame(arrow)`.
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


def dump(table: Any) -> Any:
    """A pyarrow.Table or RecordBatch as a buffer with its IPC stream."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue()
