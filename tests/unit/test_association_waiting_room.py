"""How many silent connections are borne, and whose."""

from medfake_pacs.association.waiting_room import Room, WaitingRoom

PEER, STRANGER = "10.0.0.5", "192.0.2.7"


def _room(refused: list[str]) -> WaitingRoom:
    return WaitingRoom(
        known=Room(of_address=3, in_total=4),
        unknown=Room(of_address=2, in_total=3),
        is_known=lambda host: host.startswith("10."),
        refused=refused.append,
    )


def test_strangers_have_little_room_and_never_the_peers() -> None:
    refused: list[str] = []
    room = _room(refused)
    strangers = [room.enter(host) for host in (STRANGER, STRANGER, STRANGER, "192.0.2.8", "192.0.2.9")]
    assert [bool(seat) for seat in strangers] == [True, True, False, True, False]
    assert refused == [STRANGER, "192.0.2.9"]
    peers = [room.enter(host) for host in (PEER, PEER, PEER, PEER, "10.0.0.6", "10.0.0.7")]
    assert [bool(seat) for seat in peers] == [True, True, True, False, True, False]


def test_a_seat_is_given_back_once() -> None:
    room = _room([])
    first, second = room.enter(STRANGER), room.enter(STRANGER)
    assert first
    assert second
    first.leave()
    first.leave()
    assert room.enter(STRANGER)
    assert not room.enter(STRANGER)


def test_an_address_is_one_in_every_spelling() -> None:
    room = _room([])
    assert room.enter(STRANGER)
    assert room.enter(f"::ffff:{STRANGER}")
    assert not room.enter(STRANGER)
    assert all(room.enter(f"::ffff:{PEER}") for _ in range(3))
