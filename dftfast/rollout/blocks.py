"""Who owns which block of the paged cache: reference counts, and a cache of full blocks."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence


def block_digest(parent: bytes, tokens: Sequence[int]) -> bytes:
    """Name of a full block by its content: a hash of the block before it and its tokens.

    It is a 16-byte BLAKE2b over the digest of the block before it and the block's tokens.

    The first block's parent is `version_digest`, so a name stands for the whole prefix and for
    the weights that computed it.
    """
    return hashlib.blake2b(parent + array("q", tokens).tobytes(), digest_size=16).digest()


def version_digest(version: int) -> bytes:
    """Parent of every first block: after a weight change no earlier block is ever found again."""
    return block_digest(b"policy version", [version])


class BlockPool:
    """Blocks `0 .. size-1`, each free or referenced by one or more sequences.

    A full block may be registered under its digest. It then outlives its last owner: it is free,
    but keeps its content until it is taken for something else, least recently used first, and
    `find` revives it.
    """

    def __init__(self, size: int):
        self.size = size
        self.references = [0] * size
        self._digests: list[bytes | None] = [None] * size
        self._by_digest: dict[bytes, int] = {}
        self._free = OrderedDict.fromkeys(range(size))  # the next to be taken comes first

    @property
    def num_free(self) -> int:
        """Blocks that `take` can hand out, cached ones included."""
        return len(self._free)

    def take(self) -> int:
        """An empty block for one owner, who may write to it.

        Raises:
            MemoryError: none is free.
        """
        if not self._free:
            raise MemoryError("no free block in the cache")
        block, _ = self._free.popitem(last=False)
        self._forget(block)
        self.references[block] = 1
        return block

    def share(self, block: int) -> int:
        """One more owner for a block in use. A block with several owners is not written to."""
        if not self.references[block]:
            raise ValueError(f"block {block} is free: it cannot be shared")
        self.references[block] += 1
        return block

    def drop(self, block: int) -> None:
        """One owner fewer; without owners the block is free."""
        if not self.references[block]:
            raise ValueError(f"block {block} is free: it cannot be dropped")
        self.references[block] -= 1
        if not self.references[block]:
            self._free[block] = None
            if (
                self._digests[block] is None
            ):  # nothing worth keeping: to be taken before any cached block
                self._free.move_to_end(block, last=False)

    def register(self, block: int, digest: bytes) -> None:
        """Make a full block findable.

        Where the content is cached already, the earlier block keeps the name.
        """
        if not self.references[block]:
            raise ValueError(f"block {block} is free: it cannot be registered")
        if digest not in self._by_digest and self._digests[block] is None:
            self._by_digest[digest] = block
            self._digests[block] = digest

    def find(self, digest: bytes) -> int | None:
        """The block with this content, with one owner more, or None."""
        block = self._by_digest.get(digest)
        if block is not None:
            self._free.pop(block, None)
            self.references[block] += 1
        return block

    def writable(self, block: int) -> bool:
        """Whether its one owner may write to it: neither shared nor findable by others."""
        return self.references[block] == 1 and self._digests[block] is None

    def forget_all(self) -> None:
        """Empty the content cache: blocks stay with their owners, none is found any more."""
        for block in list(self._by_digest.values()):
            self._forget(block)

    def _forget(self, block: int) -> None:
        digest = self._digests[block]
        if digest is not None:
            del self._by_digest[digest]
            self._digests[block] = None
