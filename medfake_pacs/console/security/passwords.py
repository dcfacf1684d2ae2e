"""Passwords: argon2id by argon2-cffi's defaults (RFC 9106), and what a password must be."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


def hashed(password: str) -> str:
    """Return the password as an argon2id hash in PHC form."""
    return PasswordHasher().hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether a password is the one that was hashed."""
    try:
        return bool(password_hash) and PasswordHasher().verify(password_hash or "", password)
    except (VerificationError, InvalidHashError):
        return False
