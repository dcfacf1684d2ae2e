"""Who may open an association, as a function of the rules and of what a peer says."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.association.policy import (
    AllowedPeer,
    Policy,
    Rejection,
    is_allowed_host,
    is_subject,
    judge,
    judge_load,
)
from medfake_pacs.association.resolver import CachingResolver
from medfake_pacs.config import parse_settings
from medfake_pacs.receiver import policy_of

POLICY = Policy(
    called_ae_titles=frozenset({"NODE", "SECOND"}),
    peers={
        "CT1": AllowedPeer(ae_title="CT1", hosts=("10.0.0.5", "192.168.0.0/16", "2001:db8::/32", "ct1.example")),
        "TLS1": AllowedPeer(ae_title="TLS1", hosts=("0.0.0.0/0",), tls_subject="CN=ct1,O=Radiology"),
    },
    accept_unknown_peers=False,
    max_associations=3,
    max_associations_per_peer=2,
)
CALLED_UNKNOWN, CALLING_UNKNOWN = (1, 1, 7), (1, 1, 3)


def resolve(name: str) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return frozenset({ipaddress.ip_address("10.9.9.9")}) if name == "ct1.example" else frozenset()


def codes(rejection: Rejection | None) -> tuple[int, int, int] | None:
    return (rejection.result, rejection.source, rejection.reason) if rejection else None


def ask(policy: Policy = POLICY, *, calling: str = "CT1", called: str = "NODE", host: str = "10.0.0.5", subject: str = "") -> tuple[int, int, int] | None:  # fmt: skip  # noqa: E501
    return codes(
        judge(policy, calling_ae_title=calling, called_ae_title=called, host=host, tls_subject=subject, resolve=resolve)
    )


@pytest.mark.parametrize(
    "host",
    ["10.0.0.5", "192.168.3.4", "::ffff:192.168.3.4", "::ffff:10.0.0.5", "2001:db8::1", "2001:db8::1%eth0", "10.9.9.9"],
)
def test_a_known_peer_from_where_it_may_come_is_welcome(host: str) -> None:
    assert ask(host=host) is None


@pytest.mark.parametrize("host", ["10.0.0.6", "192.169.0.1", "2001:db9::1", "::ffff:10.0.0.6", "", "ct1.example"])
def test_a_known_peer_from_elsewhere_is_not(host: str) -> None:
    assert ask(host=host) == CALLING_UNKNOWN


@pytest.mark.parametrize("called", ["", "node", "OTHER", "NODE2"])
def test_another_called_ae_title_is_named_first(called: str) -> None:
    assert ask(called=called, calling="STRANGER") == CALLED_UNKNOWN


@pytest.mark.parametrize("calling", ["", "ct1", "STRANGER"])
def test_strangers_are_rejected(calling: str) -> None:
    assert ask(calling=calling) == CALLING_UNKNOWN


def test_rules_can_be_opened_but_known_peers_keep_theirs() -> None:
    open_policy = replace(POLICY, called_ae_titles=None, accept_unknown_peers=True)
    assert ask(open_policy, called="ANY", calling="STRANGER", host="203.0.113.9") is None
    assert ask(open_policy, called="ANY", host="203.0.113.9") == CALLING_UNKNOWN
    assert ask(open_policy, calling="") == CALLING_UNKNOWN


@pytest.mark.parametrize(
    ("subject", "wanted", "same"),
    [
        ("CN=ct1,O=Radiology", "CN=ct1,O=Radiology", True),
        ("cn=CT1, o=radiology", "CN=ct1,O=Radiology", True),
        ("CN=ct1,O=Radiology", "ct1", True),
        ("CN=ct1,O=Cardiology", "CN=ct1,O=Radiology", False),
        ("CN=ct1", "CN=ct1,O=Radiology", False),
        ("CN=ct12,O=Radiology", "ct1", False),
        ("O=ct1", "ct1", False),
        (r"CN=intruder\,CN=ct1", "ct1", False),
        ("", "ct1", False),
    ],
)
def test_tls_subjects(subject: str, wanted: str, same: bool) -> None:
    assert is_subject(subject, wanted) is same


def test_a_peer_with_a_subject_needs_it() -> None:
    assert ask(calling="TLS1", subject="CN=ct1,O=Radiology") is None
    assert ask(calling="TLS1") == CALLING_UNKNOWN
    assert ask(calling="TLS1", subject="CN=ct2,O=Radiology") == CALLING_UNKNOWN


@pytest.mark.parametrize(
    ("opened", "of_peer", "expected"), [(0, 0, None), (2, 1, None), (3, 0, (2, 3, 2)), (2, 2, (2, 3, 2))]
)
def test_load(opened: int, of_peer: int, expected: tuple[int, int, int] | None) -> None:
    assert codes(judge_load(POLICY, open_associations=opened, open_of_peer=of_peer)) == expected


@given(host=st.text(), calling=st.text(), called=st.text(), subject=st.text())
def test_nothing_but_a_known_peer_gets_in(host: str, calling: str, called: str, subject: str) -> None:
    accepted = ask(calling=calling, called=called, host=host, subject=subject) is None
    assert not accepted or (called in {"NODE", "SECOND"} and calling in POLICY.peers)


@given(st.ip_addresses(v=4))
def test_an_ipv4_mapped_address_is_the_address(address: ipaddress.IPv4Address) -> None:
    mapped = str(ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed))
    assert is_allowed_host(mapped, [str(address)], resolve)


def test_the_resolver_asks_once_a_minute_and_keeps_the_last_answer() -> None:
    answers = [
        frozenset({ipaddress.ip_address("10.0.0.1")}),
        frozenset(),
        frozenset({ipaddress.ip_address("10.0.0.2")}),
    ]
    now = [0.0]
    resolver = CachingResolver(lambda _name: answers.pop(0), lambda: now[0])
    assert resolver("a") == resolver("a") == {ipaddress.ip_address("10.0.0.1")}
    now[0] = 61.0
    assert resolver("a") == {ipaddress.ip_address("10.0.0.1")}
    now[0] = 122.0
    assert resolver("a") == {ipaddress.ip_address("10.0.0.2")}
    assert answers == []


@pytest.mark.parametrize(("receivers", "limits"), [(1, (32, 16)), (4, (8, 4)), (16, (2, 1))])
def test_receivers_share_the_limits(receivers: int, limits: tuple[int, int]) -> None:
    policy = policy_of(parse_settings({"node": {"receivers": receivers}}, base=Path("/nowhere")))
    assert (policy.max_associations, policy.max_associations_per_peer) == limits


def test_a_share_is_never_nothing() -> None:
    document = {"node": {"receivers": 4}, "association": {"max_associations": 2, "max_associations_per_peer": 1}}
    policy = policy_of(parse_settings(document, base=Path("/nowhere")))
    assert (policy.max_associations, policy.max_associations_per_peer) == (1, 1)
