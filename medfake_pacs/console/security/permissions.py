"""Who may do what: roles are sets of permissions, and a token's scopes are permissions too."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """One right. Each page and call needs exactly one, or none beyond being signed in."""

    STUDIES_READ = "studies:read"
    IMAGES_CHECK = "images:check"
    CHECKS_RELEASE = "checks:release"
    REVIEWS_WRITE = "reviews:write"
    LOG_READ = "log:read"
    NODE_READ = "node:read"
    NODE_ACT = "node:act"
    ACCOUNTS_MANAGE = "accounts:manage"


class Role(StrEnum):
    """What an account is for; it may have several."""

    VIEWER = "viewer"
    RADIOLOGIST = "radiologist"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


_VIEWER = frozenset({Permission.STUDIES_READ, Permission.IMAGES_CHECK})

ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: _VIEWER,
        Role.RADIOLOGIST: _VIEWER | {Permission.REVIEWS_WRITE, Permission.CHECKS_RELEASE},
        Role.AUDITOR: frozenset({Permission.STUDIES_READ, Permission.LOG_READ, Permission.NODE_READ}),
        Role.ADMINISTRATOR: _VIEWER
        | {
            Permission.LOG_READ,
            Permission.CHECKS_RELEASE,
            Permission.NODE_READ,
            Permission.NODE_ACT,
            Permission.ACCOUNTS_MANAGE,
        },
    }
)

PERMISSION_MEANINGS: Mapping[Permission, str] = MappingProxyType(
    {
        Permission.STUDIES_READ: "see the worklist, studies, images and reports",
        Permission.IMAGES_CHECK: "upload images to be checked",
        Permission.CHECKS_RELEASE: "send what was uploaded to a destination",
        Permission.REVIEWS_WRITE: "agree or disagree with a verdict",
        Permission.LOG_READ: "search, export and verify the log",
        Permission.NODE_READ: "see the node: receivers, routes, destinations, queues",
        Permission.NODE_ACT: "send C-ECHO, send dead letters again",
        Permission.ACCOUNTS_MANAGE: "invite, approve, change and disable accounts",
    }
)

ROLE_MEANINGS: Mapping[Role, str] = MappingProxyType(
    {
        Role.VIEWER: "sees the worklist and studies, checks images",
        Role.RADIOLOGIST: "is a viewer who agrees or disagrees with verdicts and sends checked images on",
        Role.AUDITOR: "sees studies, the node and the log, which they search, export and verify",
        Role.ADMINISTRATOR: "is a viewer who manages accounts and the node, and reads the log",
    }
)


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """Return every permission that the roles give together."""
    return frozenset().union(*(ROLE_PERMISSIONS[role] for role in roles))


def parse_roles(text: str) -> tuple[Role, ...]:
    """Return the roles in ``users.roles``: names separated by commas."""
    return tuple(Role(name) for name in text.split(",") if name)
