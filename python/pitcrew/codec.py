"""MessagePack from and to anybody: `packb`, `unpackb`, `Unpacker`. Names and meanings follow the msgpack package.

>>> from pitcrew import packb, unpackb
>>> unpackb(packb({"a": [1, 2.5, None, b"x"]}))
{'a': [1, 2.5, None, b'x']}

The defaults are for data of anybody, as msgpack's are. What `Pitcrew.MessagePack` writes in Erlang and Elixir with its
own defaults has extensions for atoms, tuples and the like: read it with types="pitcrew", and write what is meant for it
with that if it holds more than MessagePack itself has.

>>> unpackb(packb({"a": (1, 2**70)}, types="pitcrew"), types="pitcrew")
{'a': (1, 1180591620717411303424)}

packb(value, *, default=None, types="plain", use_bin_type=True, datetime=False, unicode_errors="strict",
      max_depth=512, max_size=…) -> bytes

    types           "plain": what MessagePack itself has. A tuple is an array, an Atom a str; ints beyond 64 bits, sets,
                    dates and the rest are refused. "pitcrew": every type that a tool can return, as Pitcrew's exts.
    default         called with what has no form; what it returns is written instead. `register_type` goes before it.
    use_bin_type    False writes bytes as str, as MessagePack had it before it had bin
    datetime        True writes a datetime with a time zone as a timestamp
    unicode_errors  for strings that UTF-8 has no form for: an error handler of str.encode
    max_depth       containers inside containers, at most 512
    max_size        of the result in bytes

unpackb(data, *, types="plain", raw=False, use_list=True, strict_map_key=…, keys="dict", timestamp=…, ext_hook=None,
        unicode_errors="strict", max_depth=512, max_size=…) -> object

    types           "plain": an extension is an Ext. "pitcrew": Pitcrew's extensions become the types of its calls, and
                    others an Ext
    raw             True gives bytes for str
    use_list        False gives tuples for arrays
    strict_map_key  True refuses keys that are neither str nor bytes; the default with types="plain" and keys="dict"
    keys            maps with keys that Python calls equal (1, 1.0 and True) are refused, or with "strict" become a Map.
                    A key that is there twice has its last value.
    timestamp       0 Timestamp, 1 float, 2 int of nanoseconds, 3 datetime in UTC. 0 by default, 3 with types="pitcrew"
    ext_hook        called with type and data of an extension that has no meaning, instead of Ext
    unicode_errors  for a str that is not UTF-8: an error handler of bytes.decode

Lists and maps that are keys arrive as FrozenList and FrozenDict.

Unpacker(**options of unpackb) is an iterator: `feed(data)` appends bytes, iterating gives the messages that are whole.
After the last of them it stops, and goes on after the next `feed`. max_size, 100 MiB, bounds what may wait. `tell()` is
the number of bytes that messages have taken, `buffered` the number that waits.

Errors: EncodeError and DecodeError, with `path` and `reason`, for values and bytes; MemoryError; TypeError and
ValueError for options; whatever `default`, `ext_hook` and registered functions raise. A message in a stream that is not
what the options allow (text that is not UTF-8, too deep) is an error once, and the next one follows; bytes that are not
MessagePack are an error for good, since nobody knows where they end.
"""

from __future__ import annotations

from ._core import Unpacker, packb, unpackb

__all__ = ["Unpacker", "packb", "unpackb"]
