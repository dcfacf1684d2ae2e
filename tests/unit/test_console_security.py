"""What keeps the console's accounts: passwords, paths after signing in, hosts that are counted as one, origins."""

import asyncio

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.console.guards import OriginCheck
from medfake_pacs.console.process import _as_seen
from medfake_pacs.console.security import passwords
from medfake_pacs.console.security.accounts import is_name
from medfake_pacs.console.security.local_paths import local_path
from medfake_pacs.console.security.permissions import ROLE_MEANINGS, ROLE_PERMISSIONS, Role
from medfake_pacs.console.security.throttle import network_of

COMMON = [
    "password1234!", "Passw0rd2026!!", "P@$$w0rdP@$$w0rd", "qwertyuiop123", "123456789012", "aaaaaaaaaaaa",
    "abcabcabcabc", "Welcome2026!!", "admin admin admin", "iloveyou12345678", "medfake-pacs-2026", "letmeinplease1",
    "Winter2026Winter", "zxcvbnm,1234567", "0987654321qwerty",
]  # fmt: skip
GOOD = [
    "correct horse battery staple", "kestrel-violin-7-harbour", "837261940572", "tr0ub4dor&3xyz",
    "lámpara bajo el puente viejo",
    "Qv7%kLp2xZ9!", "the violet kestrel sleeps",
]  # fmt: skip


@pytest.mark.parametrize("password", COMMON)
def test_what_everybody_tries_first_is_refused(password: str) -> None:
    assert "first that anybody would try" in passwords.problem_of(password, "anna")


@pytest.mark.parametrize("password", GOOD)
def test_length_is_enough_without_a_mixture_of_signs(password: str) -> None:
    assert passwords.problem_of(password, "anna") == ""


def test_the_name_is_no_password() -> None:
    for password in ("anna.kowalski", "Anna.Kowalski2026", "kowalskikowalski", "4nn4-k0walsk1"):
        assert passwords.problem_of(password, "anna.kowalski"), password


def test_length_has_bounds_in_characters() -> None:
    assert "at least 12" in passwords.problem_of("é" * 3 + "vqzkxpw", "anna")
    assert passwords.problem_of("vq7zkx!pw3gh", "anna") == ""
    assert passwords.problem_of("vq7zkx!pw3gh" * 21, "anna") == ""
    assert "at most 256" in passwords.problem_of("vq7zkx!pw3gh" * 22, "anna")


@given(st.text(max_size=300), st.text(max_size=64))
def test_any_text_is_judged(password: str, name: str) -> None:
    assert isinstance(passwords.problem_of(password, name), str)


def test_a_temporary_password_is_good_enough_and_new_each_time() -> None:
    found = {passwords.temporary() for _ in range(50)}
    assert len(found) == 50
    assert all(passwords.problem_of(each, "anna") == "" for each in found)


def test_a_hash_is_argon2id_and_of_what_any_keyboard_sends() -> None:
    composed, decomposed = "caf\u00e9 kestrel violin", "cafe\u0301 kestrel violin"
    kept = passwords.hashed(composed)
    assert kept.startswith("$argon2id$")
    assert passwords.matches(kept, decomposed)
    assert not passwords.matches(kept, composed + " ")
    assert not passwords.matches(None, composed)
    assert not passwords.matches("no hash", composed)
    assert not passwords.matches(passwords.hashed("x" * 256), "x" * 257)
    assert not passwords.needs_rehash(kept)
    assert passwords.needs_rehash(PasswordHasher(time_cost=1).hash(composed))


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/a\nb",
        "javascript:alert(1)", "", "evil", " /account", "/x\\..\\y", "/\u2028x", "/sign-in", "/sign-out?x=1", "///evil",
        "/" + "x" * 3000,
    ],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(wanted: str) -> None:
    assert local_path(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/account", "/studies/1.2.3?revision=2", "/log?since=2026-01-01&kind=a,b"])
def test_signing_in_leads_to_where_one_was(wanted: str) -> None:
    assert local_path(wanted) == wanted


def test_one_subscriber_is_counted_as_one_host() -> None:
    assert network_of("10.1.2.3") == "10.1.2.3"
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::2") == "2001:db8:1:2::/64"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert len(network_of("x" * 1000)) <= 64


def test_names_are_plain() -> None:
    assert all(map(is_name, ("anna", "a.b-c_d@e.org", "7")))
    assert not any(map(is_name, ("", "Anna", ".anna", "an na", "a\x00", "a\n", "x" * 65, "ann\u0430", "a/b")))


def test_trusted_proxies_are_known_by_either_kind_of_socket() -> None:
    assert _as_seen(["10.1.2.3", "10.2.0.0/16", "2001:db8::/32"]) == [
        "10.1.2.3/32",
        "10.2.0.0/16",
        "2001:db8::/32",
        "::ffff:10.1.2.3/128",
        "::ffff:10.2.0.0/112",
    ]


def test_every_role_has_permissions_and_words() -> None:
    assert set(ROLE_PERMISSIONS) == set(ROLE_MEANINGS) == set(Role)


OWN, OTHER = "https://pacs.example", "https://evil.example"
COOKIE = {"cookie": "a=b; __Host-medfake-session=x"}


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": OWN}, False),
        ({"sec-fetch-site": ""}, False),
        ({"origin": OWN}, True),
        ({"origin": "https://PACS.example:443"}, True),
        ({"origin": "http://pacs.example"}, False),
        ({"origin": "https://pacs.example:8443"}, False),
        ({"origin": OTHER}, False),
        ({"origin": OTHER, "host": "evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({}, True),
        (COOKIE, False),
    ],
)
def test_with_a_public_address_only_that_origin_is_our_own(headers: dict[str, str], is_own: bool) -> None:
    assert _allows(headers, only_own_url=True) is is_own


def test_without_one_the_host_header_says_what_it_is() -> None:
    assert _allows({"origin": "https://10.0.0.1:8080", "host": "10.0.0.1:8080"}, only_own_url=False)
    assert not _allows({"origin": OTHER, "host": "10.0.0.1:8080"}, only_own_url=False)
    assert not _allows({"origin": "null"}, only_own_url=False)
    assert not _allows({"origin": "null", "host": ""}, only_own_url=False)


def _allows(headers: dict[str, str], *, only_own_url: bool) -> bool:
    """Tell whether the check lets a POST with these headers through."""
    reached: list[bool] = []

    async def inner(_scope: object, _receive: object, _send: object) -> None:
        reached.append(True)

    async def nothing(*_message: object) -> dict[str, object]:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/account",
        "scheme": "https",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    check = OriginCheck(inner, own_url=OWN, only_own_url=only_own_url)

    try:
        asyncio.run(check(scope, nothing, nothing))
    except KeyError:
        # The refusal looks for the application's templates: it was refused.
        return False
    return bool(reached)
