"""Passwords: argon2id by argon2-cffi's defaults (RFC 9106 4), and what a password must be (NIST SP 800-63B 5.1.1).

Length counts, not a mixture of signs: at least 12 characters, at most 256, and none that everybody tries first.
"""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from medfake_pacs.console.security import common_passwords

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 256
HINT = f"At least {MINIMUM_LENGTH} characters; several words that don't belong together are good."
_TEMPORARY_GROUPS = 4
_GROUP_LENGTH = 5
# Without what looks alike on paper or over the telephone.
_TEMPORARY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """Return the password as an argon2id hash in PHC form."""
    return _hasher.hash(_bytes(password))


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether a password is the one that was hashed; without a hash it takes as long and says no."""
    too_long = len(password) > MAXIMUM_LENGTH
    try:
        _hasher.verify(password_hash or _dummy(), _bytes(password[:MAXIMUM_LENGTH]))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None and not too_long


def needs_rehash(password_hash: str) -> bool:
    """Tell whether a hash was made with other parameters than are used now."""
    return _hasher.check_needs_rehash(password_hash)


def problem_of(password: str, user_name: str) -> str:
    """Return what is wrong with a new password, or nothing."""
    normal = _normal(password)
    if len(normal) < MINIMUM_LENGTH:
        return f"A password has at least {MINIMUM_LENGTH} characters; this one has {len(normal)}."
    if len(normal) > MAXIMUM_LENGTH:
        return f"A password has at most {MAXIMUM_LENGTH} characters; this one has {len(normal)}."
    if common_passwords.is_common(normal, user_name):
        return "This is one of the first that anybody would try. Take several words that don't belong together."
    return ""


def temporary() -> str:
    """Return a random password to be used once: four groups of letters and digits, 99 bits."""
    groups = [_random_group() for _ in range(_TEMPORARY_GROUPS)]
    return "-".join(groups)


def _random_group() -> str:
    return "".join(secrets.choice(_TEMPORARY_ALPHABET) for _ in range(_GROUP_LENGTH))


@cache
def _dummy() -> str:
    """Return a hash that no password has, so that unknown names take as long as known ones."""
    return _hasher.hash(secrets.token_bytes(32))


def _normal(password: str) -> str:
    """Return one form for what different keyboards send (NIST SP 800-63B 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    return _normal(password).encode("utf-8", "surrogatepass")
