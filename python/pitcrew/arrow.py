"""Arrow tables as IPC streams. pyarrow is needed to look into one, and not to pass it on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Arrow:
    """An Arrow IPC stream: `data` holds its bytes, or is a memoryview of them. Goes back to the VM as it came.

    A table always arrives as this, whether pyarrow is imported or not. `to_pyarrow()` reads it; so does whatever speaks
    the Arrow PyCapsule interface: `pyarrow.table(arrow)`, `polars.DataFrame(arrow)`.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data

    def to_pyarrow(self) -> Any:
        """The pyarrow.Table; its columns share the memory of `data`."""
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]

        with pyarrow.ipc.open_stream(self.data) as reader:
            return reader.read_all()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_pyarrow().__arrow_c_stream__(requested_schema)

    def __eq__(self, other: object) -> bool:
        return bytes(self.data) == bytes(other.data) if isinstance(other, Arrow) else NotImplemented

    def __hash__(self) -> int:
        return hash((Arrow, bytes(self.data)))

    def __repr__(self) -> str:
        return f"<pitcrew.Arrow, {len(self.data)} bytes>"

    def __reduce__(self) -> tuple[type[Arrow], tuple[bytes]]:
        return Arrow, (bytes(self.data),)


def dump(table: Any) -> Any:
    """A pyarrow.Table or RecordBatch as a buffer with its IPC stream."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue()
