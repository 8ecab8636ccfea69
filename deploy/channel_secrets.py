"""Where are the secrets of channels: passwords, tokens, keys that sign?

The site pack only names them: `env:IOC_SECRET_NAME` is a variable of the environment, `file:NAME` a file in the data
folder's `secrets/channels`, readable by its owner alone. A file is read at each use, so that a token which is renewed
there is taken up at once. The centre's own secrets lie elsewhere: no pack can have one of those sent out.
"""

from deploy import secret_file
from deploy.settings import Settings
from schemas.errors import OperatorError

CHANNELS_FOLDER = "channels"


def secret_of(settings: Settings, reference: str) -> bytes:
    """The secret that a channel's `secret` names. Raises OperatorError, which shows nothing of it."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = settings.secrets.get(name)
        if value is None:
            raise OperatorError(f"The environment has no {name}.", "Set it for the process that sends.")
        return value.encode()
    path = settings.data_dir / secret_file.FOLDER / CHANNELS_FOLDER / name
    try:
        content = secret_file.read(path).strip()
    except OSError as error:
        raise OperatorError(f"The secret {path} cannot be read ({error.strerror}).", "Put it there.") from error
    if not content:
        raise OperatorError(f"The secret {path} is empty.", "Put it there.")
    return content
