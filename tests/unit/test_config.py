"""Every mistake at once, each with key, value, reason and remedy."""

from pathlib import Path

import pytest

from medfake_pacs.cli import main
from medfake_pacs.config import Problem, load_settings, parse_settings
from medfake_pacs.errors import ConfigurationError

BASE = Path("/nowhere")
BUNDLE_NAMES = ("lung-ct", "knee-xr")


@pytest.fixture
def models(tmp_path: Path) -> str:
    for name in BUNDLE_NAMES:
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "card.json").write_text("{}")
    return str(tmp_path / "models")


def problems_of(document: dict[str, object], **more: object) -> dict[str, Problem]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(document, base=BASE, **more)  # type: ignore[arg-type]
    return {problem.key: problem for problem in caught.value.problems}  # type: ignore[attr-defined]


def test_an_empty_configuration_is_valid_and_denies_everyone() -> None:
    settings = parse_settings({}, base=BASE)
    assert settings.peers == ()
    assert not settings.association.accept_unknown_peers
    assert settings.node.state_dir == BASE / "state"


def test_unknown_keys_name_the_nearest_known_one() -> None:
    found = problems_of({"node": {"ae_titel": "X"}, "completoin": {}, "routes": [{"name": "a", "send_too": ["x"]}]})
    assert found["node.ae_titel"].remedy == "did you mean ae_title?"
    assert found["completoin"].remedy == "did you mean completion?"
    assert found["routes[1].send_too"].remedy == "did you mean send_to?"


@pytest.mark.parametrize("title", ["", "   ", "A" * 17, "A\\B", "A\tB", "MÜNCHEN", "A\x7f"])
def test_an_ae_title_follows_its_value_representation(title: str) -> None:
    assert "AE title" in problems_of({"node": {"ae_title": title}})["node.ae_title"].reason


def test_insignificant_spaces_of_an_ae_title_are_dropped() -> None:
    assert parse_settings({"node": {"ae_title": " MED FAKE "}}, base=BASE).node.ae_title == "MED FAKE"


def test_all_mistakes_come_at_once(models: str) -> None:
    found = problems_of(
        {
            "node": {"port": "many"},
            "scoring": {"models_dir": models},
            "completion": {"quiet_s": 9, "max_wait_s": 1},
            "destinations": [{"name": "pacs", "ae_title": "P", "host": "h", "port": 1, "retry": {"first_delay_s": -1}}],
            "routes": [{"name": "a", "model": "lung-cd", "send_to": ["pasc"], "from": ["NOBODY"]}],
        }
    )
    assert set(found) >= {"node.port", "completion", "destinations[1].retry.first_delay_s"}
    assert found["routes[1].model"].remedy == "did you mean 'lung-ct'?"
    assert found["routes[1].send_to"].remedy == "did you mean 'pacs'?"
    assert found["routes[1].from"].value == "'NOBODY'"


def test_names_must_be_unique() -> None:
    peer = {"ae_title": "A", "hosts": ["10.0.0.1"]}
    assert "2 entries" in problems_of({"peers": [peer, peer]})["peers.ae_title"].reason


@pytest.mark.parametrize("host", ["", "a b", "300.1.1.1", "10.1.2.0/33"])
def test_a_peer_has_hosts_that_can_exist(host: str) -> None:
    assert "peers[1].hosts[1]" in problems_of({"peers": [{"ae_title": "A", "hosts": [host]}]})


def test_a_password_in_the_database_url_is_refused_and_not_shown() -> None:
    found = problems_of({"database": {"url": "postgresql+psycopg://u:secret@h/d"}})
    assert "PGPASSFILE" in found["database"].remedy
    assert "secret" not in str(found["database"])


def test_a_database_in_memory_or_a_hidden_password_is_refused() -> None:
    assert "in memory" in problems_of({"database": {"url": "sqlite://"}})["database"].reason
    found = problems_of({"database": {"url": "postgresql+psycopg://u@h/d?password=secret"}})["database"]
    assert "secret" not in str(found)


def test_an_empty_condition_is_refused() -> None:
    assert (
        "hold for everything"
        in problems_of({"routes": [{"name": "a", "description": [""]}]})["routes[1].description[1]"].reason
    )


def test_the_environment_overrides_and_its_mistakes_are_named() -> None:
    settings = parse_settings({"node": {"port": 1}}, base=BASE, environment={"MEDFAKE_NODE__PORT": "11113"})
    assert settings.node.port == 11113
    found = problems_of({}, environment={"MEDFAKE_NOTE__PORT": "1", "MEDFAKE_NODE__PROT": "1"})
    assert found["MEDFAKE_NOTE__PORT"].remedy == "did you mean node?"
    assert found["node.prot"].remedy == "did you mean port?"


def test_settings_cannot_be_changed() -> None:
    settings = parse_settings({}, base=BASE)
    with pytest.raises(ValueError, match="frozen"):
        settings.node.port = 1  # type: ignore[misc]


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text('[node]\nstate_dir = "here"\n')
    assert load_settings(tmp_path / "n.toml", {}).spool_dir == tmp_path / "here" / "spool"


def test_check_config_prints_one_line_for_each_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "n.toml"
    path.write_text('[node]\nport = 0\nhots = "x"\n')
    assert main(["check-config", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("2 mistakes")
    assert any(line.startswith("node.hots = 'x': this key is unknown; did you mean host?") for line in lines)
    path.write_text("")
    assert main(["check-config", str(path)]) == 0


@pytest.mark.parametrize("content", [b"[node\n", b"\xff\xfe", None])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "n.toml"
    if content is not None:
        path.write_bytes(content)
    assert main(["check-config", str(path)]) == 1
    assert str(path) in capsys.readouterr().out
