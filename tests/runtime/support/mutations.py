"""Messages as nobody should send them: valid ones with something wrong, by a seed.

Knows the protocol, not the code that reads it: how a message was made says whether it breaks it, or leaves it open.
Invariant: the same seed gives the same messages.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

Parts = list[bytes]

_HEADER_BYTES = 16_384
_INTEGERS = ("sequence", "time_ns", "acquired_ns")
_TEXTS = ("stream", "clock")
_NUMBERS = ("fs_hz", "f0_hz", "sound_speed_m_s", "line_pitch_mm")
_STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    1.5,
    -(2**63),
    2**63,
    2**64,
    10**30,
    10**400,
    "",
    "7",
    "x" * 257,
    "\ud800",
    "\0",
    "a\nb",
    "\x7f",
    [],
    [[]],
    [1, 2],
    {},
    {"a": {"b": []}},
)
_NAMES = (
    "",
    "probe ",
    "\u202eprobe",
    "пульт",
    "🔥" * 8,
    "'; --",
    "%s%n",
    "../../x",
    "x" * 256,
)
_LITERALS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"1E+2",
    b"0x10",
    b"01",
    b"nul",
    b"\xff",
    b"'a'",
)


class Mutations:
    """`next(mutations)` is what was done, the parts, and whether they break the protocol (None: not known)."""

    def __init__(self, valid: Sequence[Parts], seed: int) -> None:
        """`valid`: RF messages to begin with."""
        self._valid = [[bytes(part) for part in parts] for parts in valid]
        self._random = random.Random(seed)
        self._ways: list[tuple[Callable[[Parts], Parts], bool | None]] = [
            (self._cut_header, True),
            (self._cut_samples, True),
            (self._longer_samples, True),
            (self._long_header, True),
            (self._full_header, False),
            (self._part_count, True),
            (self._swapped, True),
            (self._noise, True),
            (self._version, True),
            (self._kind, True),
            (self._missing_key, True),
            (self._strange_value, None),
            (self._strange_place, None),
            (self._integer, None),
            (self._name, False),
            (self._literal, None),
            (self._shape, None),
            (self._geometry, None),
            (self._twice, None),
            (self._deep, None),
            (self._new_keys, False),
            (self._order, False),
            (self._encoding, None),
            (self._flipped_header, None),
            (self._flipped_samples, False),
            (self._payload, False),
        ]

    def __iter__(self) -> Mutations:
        return self

    def __next__(self) -> tuple[str, Parts, bool | None]:
        way, broken = self._random.choice(self._ways)
        return way.__name__.strip("_"), way(list(self._random.choice(self._valid))), broken

    def _fields(self, parts: Parts) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(parts[0])
        return fields

    def _with(self, parts: Parts, **changes: Any) -> Parts:
        return [json.dumps(self._fields(parts) | changes).encode(), *parts[1:]]

    def _cut_header(self, parts: Parts) -> Parts:
        return [parts[0][: self._random.randrange(len(parts[0]))], *parts[1:]]

    def _cut_samples(self, parts: Parts) -> Parts:
        return [parts[0], parts[1][: self._random.randrange(len(parts[1]))]]

    def _longer_samples(self, parts: Parts) -> Parts:
        return [parts[0], parts[1] + self._random.randbytes(self._random.choice((1, 2, 64, 100_000)))]

    def _long_header(self, parts: Parts) -> Parts:
        size = self._random.choice((_HEADER_BYTES + 1, 20_000, 100_000, 1_000_000))
        return [parts[0].ljust(size), *parts[1:]]

    def _full_header(self, parts: Parts) -> Parts:
        return [parts[0].ljust(_HEADER_BYTES), *parts[1:]]

    def _part_count(self, parts: Parts) -> Parts:
        count = self._random.choice((1, 3, 4, 15, 16, 17, 40, 300))
        return [*parts, *[self._random.choice((b"", b"x", parts[0]))] * 300][:count]

    def _swapped(self, parts: Parts) -> Parts:
        return parts[::-1]

    def _noise(self, parts: Parts) -> Parts:
        sizes = self._random.choices((0, 1, 2, 30, 500, 3000), k=self._random.randint(1, 3))
        return [self._random.randbytes(size) for size in sizes]

    def _version(self, parts: Parts) -> Parts:
        return self._with(parts, usert=self._random.choice((0, 2, -1, 1.0, "1", True, None, 2**70, [1])))

    def _kind(self, parts: Parts) -> Parts:
        return self._with(parts, kind=self._random.choice(("strain", "RF", "rf ", "", 1, None, ["rf"], {})))

    def _missing_key(self, parts: Parts) -> Parts:
        fields = self._fields(parts)
        del fields[self._random.choice(list(fields))]
        return [json.dumps(fields).encode(), *parts[1:]]

    def _strange_value(self, parts: Parts) -> Parts:
        key = self._random.choice(list(self._fields(parts)))
        return self._with(parts, **{key: self._random.choice(_STRANGE)})

    def _strange_place(self, parts: Parts) -> Parts:
        """A value of another key."""
        fields = self._fields(parts)
        here, there = self._random.sample(list(fields), 2)
        return self._with(parts, **{here: fields[there]})

    def _integer(self, parts: Parts) -> Parts:
        bits = self._random.choice((1, 8, 31, 32, 53, 62, 63, 64, 200))
        value = 2**bits + self._random.randint(-2, 1)
        return self._with(parts, **{self._random.choice(_INTEGERS): value})

    def _name(self, parts: Parts) -> Parts:
        return self._with(parts, **{self._random.choice(_TEXTS): self._random.choice(_NAMES)})

    def _literal(self, parts: Parts) -> Parts:
        key = self._random.choice(list(self._fields(parts)))
        value = json.dumps(self._fields(parts)[key], separators=(",", ":")).encode()
        return [parts[0].replace(value, self._random.choice(_LITERALS), 1), *parts[1:]]

    def _shape(self, parts: Parts) -> Parts:
        n, m = self._fields(parts)["shape"]
        shapes = (
            [m, n],
            [n * m, 1],
            [1, n * m],
            [n, m + 1],
            [n, -m],
            [0, m],
            [n],
            [n, m, 1],
            [float(n), m],
            [32_768, 512],
            [2**40, 2**40],
            [str(n), m],
        )
        return self._with(parts, shape=self._random.choice(shapes))

    def _geometry(self, parts: Parts) -> Parts:
        value = self._random.choice((0, -1.0, 5e-324, 1e-300, 1e300, 1e308, 10**320, "4e7", None, 1, 39e6))
        return self._with(parts, **{self._random.choice(_NUMBERS): value})

    def _twice(self, parts: Parts) -> Parts:
        """A key that is there twice; RFC 8259 leaves open which value counts."""
        key = self._random.choice(list(self._fields(parts)))
        again = json.dumps({key: self._random.choice(_STRANGE)})[1:]
        return [parts[0][:-1] + b"," + again.encode(), *parts[1:]]

    def _deep(self, parts: Parts) -> Parts:
        depth = self._random.choice((10, 500, 5000))
        opened, closed = self._random.choice(((b"[", b"]"), (b'{"a":', b"}")))
        deep = opened * depth + b"1" + closed * depth
        return [parts[0][:-1] + b',"deep":' + deep + b"}", *parts[1:]]

    def _new_keys(self, parts: Parts) -> Parts:
        return self._with(parts, **{f"key {k}": self._random.choice(_STRANGE) for k in range(20)})

    def _order(self, parts: Parts) -> Parts:
        fields = list(self._fields(parts).items())
        self._random.shuffle(fields)
        return [json.dumps(dict(fields), indent=1).encode(), *parts[1:]]

    def _encoding(self, parts: Parts) -> Parts:
        text = parts[0].decode()
        ways = ("utf-16", "utf-32", "utf-8-sig", "utf-7", "utf-16-be", "utf-8")
        return [text.encode(self._random.choice(ways)), *parts[1:]]

    def _flipped_header(self, parts: Parts) -> Parts:
        return [self._flipped(parts[0]), *parts[1:]]

    def _flipped_samples(self, parts: Parts) -> Parts:
        return [parts[0], self._flipped(parts[1])]

    def _flipped(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._random.choice((1, 1, 2, 8, 64))):
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _payload(self, parts: Parts) -> Parts:
        """Samples that are none: NaN, infinite, huge, tiny, all the same; of a size that fits."""
        words = (
            b"\0\0\xc0\x7f",
            b"\0\0\x80\xff",
            b"\xff\xff\x7f\x7f",
            b"\1\0\0\0",
            b"\0\0\0\0",
            b"\x3f\xc2\x3f\xc2",
        )
        return [parts[0], self._random.choice(words) * (len(parts[1]) // 4)]
