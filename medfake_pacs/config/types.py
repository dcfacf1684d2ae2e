"""The kinds of value that a configuration is made of, each with its bounds and what to write instead."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_AE_TITLE_LENGTH = 16
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$")
_PORT_MAXIMUM = 65535


def check_ae_title(value: str) -> str:
    """Return ``value`` without its insignificant spaces, if it is a valid AE (PS3.5 Table 6.2-1).

    Raises
    ------
    ValueError
        If it is empty, longer than 16 characters or holds a backslash, a control or a non-ASCII character.
    """
    title = value.strip(" ")
    if not title:
        raise ValueError("an AE title can't be empty or all spaces; write 1 to 16 characters")
    if len(title) > _AE_TITLE_LENGTH:
        raise ValueError(f"an AE title has at most 16 characters, this one has {len(title)}; shorten it")
    wrong = sorted({character for character in title if not " " <= character <= "~" or character == "\\"})
    if wrong:
        raise ValueError(f"an AE title can't hold {wrong!r}; use printable ASCII without the backslash")
    return title


def _check_host(value: str) -> str:
    if not value.strip():
        raise ValueError("a host can't be empty; write a name or an IP address")
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST_NAME.match(value) or re.fullmatch(r"[0-9.]+", value):
            raise ValueError("this is neither an IP address nor a host name; write one of the two") from None
    return value


def _check_host_or_network(value: str) -> str:
    if "/" not in value:
        return _check_host(value)
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}; write an address, a host name or a network such as 10.1.2.0/24") from None
    return value


def _check_word(value: str) -> str:
    if not value.strip():
        raise ValueError("an empty condition would hold for everything; remove it")
    return value


AeTitle = Annotated[str, AfterValidator(check_ae_title)]
Host = Annotated[str, AfterValidator(_check_host)]
HostOrNetwork = Annotated[str, AfterValidator(_check_host_or_network)]
Port = Annotated[int, Field(ge=1, le=_PORT_MAXIMUM)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Word = Annotated[str, AfterValidator(_check_word)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class Section(BaseModel):
    """A frozen table that refuses keys which it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)
