"""Checksums are zlib's, whoever computes them."""

from __future__ import annotations

import importlib
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.store import crc


@given(st.binary(max_size=5000), st.integers(0, 2**32 - 1))
def test_a_checksum_is_the_one_of_zlib(data: bytes, value: int) -> None:
    assert crc.crc32(data) == zlib.crc32(data)
    assert crc.crc32(memoryview(data), value) == zlib.crc32(data, value)


def test_a_large_picture_has_the_checksum_of_zlib() -> None:
    data = bytes(range(256)) * 8192
    assert crc.crc32(memoryview(data)[3:]) == zlib.crc32(memoryview(data)[3:])
    crc.clear_registers()


def test_a_machine_without_isal_uses_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    try:
        assert importlib.reload(crc).crc32 is zlib.crc32
    finally:
        monkeypatch.undo()
        importlib.reload(crc)
