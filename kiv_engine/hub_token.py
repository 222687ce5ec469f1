"""The token for gated and private models: in the system's keyring, unless HuggingFace's own tools have one.

A token is asked of the keyring only when the hub is: nothing here reads it beforehand, and nothing shows it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from kiv_engine.errors import ConfigError, TokenStoreError, said

SERVICE: Final = "KIV Desktop"
USER: Final = "huggingface.co"
PAGE: Final = "https://huggingface.co/settings/tokens"
"""Where the hub makes tokens; one that may only read is enough."""


def keyring_token() -> str | None:
    """The token in the keyring, to be sent where HuggingFace's own tools have none; None, too, without a keyring.

    What stands in HF_TOKEN, or what `hf auth login` keeps, goes first: the hub's library finds that by itself.
    """
    from huggingface_hub import get_token

    if get_token():
        return None
    try:
        with _keyring() as keyring:
            found = keyring.get_password(SERVICE, USER)
    except TokenStoreError:  # a model that anybody may have needs no token
        return None
    return str(found) if found else None


def has_token() -> bool:
    """Whether the hub is asked with a token."""
    from huggingface_hub import get_token

    return bool(get_token() or keyring_token())


def keep_token(text: str) -> None:
    """Put a token into the keyring. Raises ConfigError for what is none, TokenStoreError without a keyring."""
    token = text.strip()
    if not re.fullmatch("hf_[A-Za-z0-9_]+", token):
        raise ConfigError(said("That is no token of the HuggingFace hub, which begins with hf_; {0} makes one.", PAGE))
    with _keyring() as keyring:
        keyring.set_password(SERVICE, USER, token)


def remove_token() -> bool:
    """Take the token out of the keyring; whether there was one. Raises TokenStoreError without a keyring."""
    with _keyring() as keyring:
        if not keyring.get_password(SERVICE, USER):
            return False
        keyring.delete_password(SERVICE, USER)
    return True


@contextmanager
def _keyring() -> Iterator[ModuleType]:
    """The system's keyring; what goes wrong there becomes a TokenStoreError."""
    import keyring
    from keyring.errors import InitError, KeyringError, KeyringLocked, NoKeyringError

    logging.getLogger("keyring").setLevel(logging.ERROR)
    instead = said("set HF_TOKEN for KIV instead, or log in with: hf auth login")
    try:
        yield keyring
    except NoKeyringError as error:
        raise TokenStoreError(said("This system has no keyring that could keep a token; {0}", instead)) from error
    except KeyringLocked as error:
        raise TokenStoreError(said("The system's keyring is locked; unlock it, or {0}", instead)) from error
    except (KeyringError, InitError, OSError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TokenStoreError(said("The system's keyring does not answer ({0}); {1}", why, instead)) from error
