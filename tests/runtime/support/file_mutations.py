"""Files as nobody should find them: valid ones with something wrong, by a seed.

Knows bytes and lines of text, no format. Invariant: the same seed gives the same bytes.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence

_SIZES = (1, 2, 4, 8, 16, 64, 512, 4096)
_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"2",
    b"65536",
    b"2147483648",
    b"-9223372036854775808",
    b"99999999999999999999",
)
_NUMBERS += (
    b"1e9",
    b"1e999",
    b"NaN",
    b"-inf",
    b"0.5",
    b"",
    b"1" * 400,
    b"1" * 5000,
    b"\xb2",
    b"0x10",
    b"1_0",
)
_WORDS = (b"", b"LIST", b"LOCAL", b"%d.raw", b"../../../etc/passwd", b"/dev/zero", b".", b"\0", b"\x1b[2J")
_WORDS += (
    b"\xff\xfe",
    b"x" * 300,
    b"x" * 70_000,
    b"\x85",
    b"True",
    b"none",
    b"complex",
    b"double",
    b"MET_DOUBLE",
)
_HEAD = 256


class FileMutations:
    """`of(content, others)` damages a file in one to three ways; `others` give parts to splice in."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip,
            self._flip,
            self._byte,
            self._cut,
            self._lose,
            self._repeat,
            self._move,
            self._splice,
            self._noise,
            self._integer,
            self._integer,
            self._integer,
            self._near,
            self._number,
            self._word,
            self._line,
            self._grow,
        )
        self._others: Sequence[bytes] = ()

    def of(self, content: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
        """What was done, and the damaged file."""
        self._others = others
        done = []
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            way = self._random.choice(self._ways)
            content = way(content)
            done.append(way.__name__.strip("_"))
        return " ".join(done), content

    def _at(self, content: bytes, size: int = 1) -> int:
        """A place, often in the head of the file."""
        last = max(len(content) - size, 0)
        return self._random.randint(0, min(last, self._random.choice((_HEAD, 8 * _HEAD, last))))

    def _some(self, content: bytes) -> bytes:
        at = self._at(content)
        return content[at : at + self._random.choice(_SIZES)]

    def _put(self, content: bytes, at: int, new: bytes) -> bytes:
        return content[:at] + new + content[at + len(new) :]

    def _flip(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self._random.choice((1, 1, 2, 8, 64)) if changed else 0):
            changed[self._at(content)] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _byte(self, content: bytes) -> bytes:
        return self._put(content, self._at(content), bytes([self._random.choice((0, 1, 127, 128, 254, 255))]))

    def _cut(self, content: bytes) -> bytes:
        return content[: self._at(content)]

    def _lose(self, content: bytes) -> bytes:
        at = self._at(content)
        return content[:at] + content[at + self._random.choice(_SIZES) :]

    def _repeat(self, content: bytes) -> bytes:
        at = self._at(content)
        some = content[at : at + self._random.choice(_SIZES)]
        return content[:at] + some * self._random.choice((2, 3, 20)) + content[at + len(some) :]

    def _move(self, content: bytes) -> bytes:
        return self._put(content, self._at(content), self._some(content))

    def _splice(self, content: bytes) -> bytes:
        other = self._random.choice([*self._others, content])
        if self._random.random() < 0.5:
            return content[: self._at(content)] + other[self._at(other) :]
        return self._put(content, self._at(content), self._some(other))

    def _noise(self, content: bytes) -> bytes:
        return self._put(content, self._at(content), self._random.randbytes(self._random.choice(_SIZES)))

    def _integer(self, content: bytes) -> bytes:
        """A length, a count or a type."""
        size = self._random.choice((1, 2, 4, 4, 8))
        bits = self._random.randrange(8 * size)
        value = self._random.choice((0, 1, 2, 3, 7, 1 << bits, (1 << bits) - 1, -1, len(content), 9, 14, 15))
        raw = (value % (1 << 8 * size)).to_bytes(size, self._random.choice(("little", "big")))
        at = self._at(content, size)
        return self._put(content, at - at % self._random.choice((1, size)), raw)

    def _near(self, content: bytes) -> bytes:
        """A number that is there, a little larger, smaller, or by powers of two."""
        kind = self._random.choice(("<H", "<I", "<Q", ">I"))
        at = self._at(content, size := struct.calcsize(kind))
        if at + size > len(content):
            return content
        (value,) = struct.unpack_from(kind, content, at)
        factor = self._random.choice((1, 1, 2, 256, 65536))
        value = (value * factor + self._random.randint(-2, 2)) % (1 << 8 * size)
        return self._put(content, at, struct.pack(kind, value))

    def _number(self, content: bytes) -> bytes:
        return self._replace(content, rb"[0-9.]+", _NUMBERS)

    def _word(self, content: bytes) -> bytes:
        return self._replace(content, rb"[A-Za-z_]{2,}", _WORDS)

    def _replace(self, content: bytes, pattern: bytes, others: Sequence[bytes]) -> bytes:
        found = list(re.finditer(pattern, content[: self._random.choice((_HEAD, 8 * _HEAD))]))
        if not found:
            return content
        here = self._random.choice(found)
        new = self._random.choice([*others, self._random.choice(found).group()])
        return content[: here.start()] + new + content[here.end() :]

    def _line(self, content: bytes) -> bytes:
        """A line that is there twice, not at all, or elsewhere."""
        lines = content.split(b"\n")
        here, there = (self._random.randrange(min(len(lines), 40)) for _ in range(2))
        line = lines[here]
        if self._random.random() < 0.6:
            del lines[here]
        if self._random.random() < 0.6:
            lines.insert(there, line)
        return b"\n".join(lines)

    def _grow(self, content: bytes) -> bytes:
        size = self._random.choice((1, 4, 100, 5000))
        return content + self._random.choice((bytes(size), b"\xff" * size, content[:size], b"\n" * size))
