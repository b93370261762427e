"""Where answers stand in files, for many more answers than there should be Python objects."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

_KEY = "S12"  # a request id is 24 hexadecimal digits


class Place(NamedTuple):
    """Number of the file and offset of the line in it, bytes."""

    file: int
    offset: int


class AnswerIndex:
    """From request id to place, 22 bytes per answer.

    What is appended can be found after :meth:`settle`; of several answers to one request the last counts.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, _KEY)  # sorted, each once
        self._files = np.empty(0, np.uint16)
        self._offsets = np.empty(0, np.uint64)
        self._new_keys = bytearray()
        self._new_files = array("H")
        self._new_offsets = array("Q")

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, request_id: str, place: Place) -> None:
        """Remember a place.

        Raises:
            ValueError: The id is not 24 hexadecimal digits.
        """
        key = bytes.fromhex(request_id)
        if len(key) != 12:
            raise ValueError(f"request id {request_id!r} has not 24 digits")
        self._new_keys += key
        self._new_files.append(place.file)
        self._new_offsets.append(place.offset)

    def settle(self) -> None:
        """Let the appended answers be found."""
        if not self._new_offsets:
            return
        keys = np.concatenate([self._keys, np.frombuffer(bytes(self._new_keys), _KEY)])
        files = np.concatenate([self._files, np.array(self._new_files, np.uint16)])
        offsets = np.concatenate([self._offsets, np.array(self._new_offsets, np.uint64)])
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        self._keys, order = ordered[last], order[last]
        self._files, self._offsets = files[order], offsets[order]
        self._new_keys, self._new_files, self._new_offsets = bytearray(), array("H"), array("Q")

    def find(self, request_id: str) -> Place | None:
        """The place of the last settled answer, None when there is none."""
        if not len(self._keys):
            return None
        key = bytes.fromhex(request_id)
        at = int(self._keys.searchsorted(key))
        if at == len(self._keys) or self._keys[at] != key.rstrip(b"\0"):  # NumPy gives strings without final zeros
            return None
        return Place(int(self._files[at]), int(self._offsets[at]))
