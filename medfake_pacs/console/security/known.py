"""The value that says who asks."""

from dataclasses import dataclass

from medfake_pacs.console.security.permissions import Permission, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One signed-in account for the length of a request.

    ``session_sha256`` is empty for a token, ``token_id`` None for a session. Times are seconds since the epoch.
    """

    user_id: int
    user_name: str
    display_name: str
    roles: tuple[Role, ...]
    permissions: frozenset[Permission]
    host: str
    session_sha256: str = ""
    token_id: int | None = None
    must_change_password: bool = False
    previous_sign_in_at: float | None = None
    previous_sign_in_host: str = ""

    def may(self, permission: Permission | str) -> bool:
        """Tell whether this account has a permission; templates ask by its name."""
        return Permission(permission) in self.permissions
