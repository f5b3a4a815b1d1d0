"""What a device keeps between pairings: its identity, the peers that it knows, and how often pairing has failed."""

import math
import secrets
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rtmelody.errors import ConfigError, LockedOutError, PairingError
from rtmelody.io.files import make_folder, write_whole

OWNER_ONLY = 0o600
FAILURES, LOCKOUT_S = 3, 600.0
NAME_DIGITS = 32  # of an identity, hexadecimal: 128 bits, which nobody finds a second time


class Peer(msgspec.Struct):
    """A device that was paired with: when first and last (Unix time, s), and how often."""

    first: float
    last: float
    times: int = 1


class _Memory(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    peers: dict[str, Peer] = {}
    failures: int = 0  # in a row
    failed_at: float = 0.0


class Peers:
    """A folder with `identity.key` (32 bytes, for its owner alone) and `peers.json`."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which need not be there yet."""
        self._key, self._file = folder / "identity.key", folder / "peers.json"

    def identity(self) -> Ed25519PrivateKey:
        """This device's own, made at the first call.

        Raises ConfigError if the file is not such a key, OutputError if it cannot be written.
        """
        if not self._key.exists():
            make_folder(self._key.parent)
            write_whole(self._key, secrets.token_bytes(32), OWNER_ONLY)
        try:
            return Ed25519PrivateKey.from_private_bytes(self._key.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._key} is no identity of 32 bytes: restore it, or delete it for a new one.") from error

    def known(self) -> dict[str, Peer]:
        """All that are remembered, by name."""
        return self._read().peers

    def remember(self, public: bytes) -> tuple[str, Peer]:
        """Note a pairing with the owner of an identity; its name and what is known of it."""
        memory, now, name = self._read(), time.time(), public.hex()[:NAME_DIGITS]
        before = memory.peers.get(name)
        peer = Peer(before.first, now, before.times + 1) if before else Peer(now, now)
        memory.peers[name] = peer
        self._write(memory)
        return name, peer

    def forget(self, name: str) -> None:
        """Remember a peer no longer.

        Raises PairingError if nobody of that name is known.
        """
        memory = self._read()
        if memory.peers.pop(name, None) is None:
            raise PairingError(f"Nobody called {name} is known: see `rtmelody pair peers`.")
        self._write(memory)

    def check_lockout(self) -> None:
        """Refuse another try after three failures in a row: each is one guess for an attacker.

        Raises LockedOutError.
        """
        memory = self._read()
        left = memory.failed_at + LOCKOUT_S - time.time()
        if memory.failures >= FAILURES and left > LOCKOUT_S:  # the clock was set back: the wait begins anew
            memory.failed_at, left = time.time(), LOCKOUT_S
            self._write(memory)
        if memory.failures >= FAILURES and left > 0:
            raise LockedOutError(f"Pairing has failed {memory.failures} times in a row: wait {math.ceil(left / 60)} min.")

    def expect_failure(self) -> None:
        """Count an attempt as failed as soon as somebody may guess: what ends it then, a crash say, cannot undo that.

        Raises LockedOutError if others, begun before they had failed, have used up the guesses.
        """
        self.check_lockout()
        memory = self._read()
        memory.failures, memory.failed_at = memory.failures + 1, time.time()
        self._write(memory)

    def succeeded(self) -> None:
        """Begin to count anew."""
        memory = self._read()
        memory.failures, memory.failed_at = 0, 0.0
        self._write(memory)

    def _read(self) -> _Memory:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Memory)
        except FileNotFoundError:
            return _Memory()
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{self._file} is damaged ({error}): mend it, or delete it to forget all peers.") from error

    def _write(self, memory: _Memory) -> None:
        make_folder(self._file.parent)
        write_whole(self._file, msgspec.json.format(msgspec.json.encode(memory)), OWNER_ONLY)
