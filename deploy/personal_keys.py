"""Where are the keys of personal data kept, and who gets them?

In one file, which the door and the workers read when they start; nobody else does. On one machine it is made at the
first start. Where the processes run on several, all must have the same file, so that it has to be named.
"""

import secrets
from pathlib import Path

from deploy import secret_file
from deploy.settings import Settings
from schemas.errors import OperatorError
from schemas.personal import KEY_BYTES, KeyRing, parse_key_ring, with_further_key, write_key_ring

KEYS_FILE = "personal.keys"
FIRST_KEY = "1"


def keys_path(settings: Settings) -> Path:
    """Where the file is."""
    return settings.personal_keys or settings.data_dir / secret_file.FOLDER / KEYS_FILE


def key_ring(settings: Settings) -> KeyRing:
    """The centre's keys, made where the centre keeps them itself and there are none. Raises OperatorError."""
    path = keys_path(settings)
    if settings.personal_keys is None:
        return parse_key_ring(secret_file.read_or_make(path, _made).decode(errors="replace"))
    try:
        return parse_key_ring(secret_file.read(path).decode(errors="replace"))
    except OSError as error:
        # One that is made here would open nothing of what the others seal.
        raise OperatorError(
            f"The keys of personal data cannot be read from {path} ({error.strerror}).",
            "Copy the file from where the centre was first started, or correct IOC_PERSONAL_KEYS.",
        ) from error


def add_key(settings: Settings) -> str:
    """Puts a new key on the ring, by which is sealed from the next start on. Returns its id. Raises OperatorError."""
    key_ring(settings)
    path = keys_path(settings)
    text, key_id = with_further_key(secret_file.read(path).decode(), secrets.token_bytes(KEY_BYTES))
    secret_file.write(path, text.encode())
    return key_id


def _made() -> bytes:
    keys = {FIRST_KEY: secrets.token_bytes(KEY_BYTES)}
    return write_key_ring(secrets.token_bytes(KEY_BYTES), keys, FIRST_KEY).encode()
