"""Targets are told of verdicts: by webhook and e-mail over real sockets, again after failures, each once."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from medfake_pacs.config import Settings, parse_settings
from medfake_pacs.database import open_engine, reading, transaction
from medfake_pacs.database.console_tables import notifications
from medfake_pacs.database.tables import audit_events, studies, verdicts
from medfake_pacs.entities import Verdict, VerdictLabel
from medfake_pacs.notification import listing, retry
from medfake_pacs.notification.commands import run_test
from medfake_pacs.serve import prepare
from medfake_pacs.workflows import notifying
from medfake_pacs.workflows.context import Context
from tests.notification_support import Mail, SmtpServer, WebhookServer, make_authority, running_smtp, server_context
from tests.support import free_port, wait_for

FAKE, REAL = VerdictLabel.FAKE, VerdictLabel.REAL
SECRET = "s3cret"
QUICK = {"first_delay_s": 0.2, "max_delay_s": 0.4}


class World:
    """A worker's notifications without the worker: verdicts are recorded by hand, the clock ticks by hand."""

    def __init__(self, settings: Settings) -> None:
        prepare(settings)
        self.settings = settings
        self.engine = open_engine(settings.database_url)
        self.context = Context.open(settings, self.engine)
        self.notifier = notifying.Notifier(self.context)

    def assess(self, study: str, revision: int, label: VerdictLabel) -> None:
        """Record a verdict and queue what is to be told of it, as the worker does."""
        verdict = Verdict(
            study_instance_uid=study, revision=revision, label=label, probability=0.9, reason="", images_total=2,
            images_scored=2, series=(),
        )  # fmt: skip
        row: dict[str, Any] = {"study_instance_uid": study, "revision": revision, "scope": "study", "scope_uid": study}
        row |= {"verdict": str(label), "probability": 0.9, "images_total": 2, "images_scored": 2, "created_at": 5.0}
        with transaction(self.engine) as connection:
            if revision == 1:
                values = {"study_instance_uid": study, "patient_id": "PAT", "accession_number": "ACC"}
                connection.execute(sa.insert(studies).values(values))
            connection.execute(sa.insert(verdicts).values(row))
            notifying.enqueue(connection, self.settings, verdict, time.time())

    def tick_until(self, count: int, state: str, timeout_s: float = 20.0) -> None:
        """Let the clock tick until so many notifications are in a state."""

        def done() -> bool:
            self.notifier.send_due()
            return len(self.listed(state=state)) == count

        wait_for(done, timeout_s, f"{count} notifications to be {state}: {self.listed()}")

    def listed(self, **conditions: Any) -> list[Any]:
        """Return the notifications, newest first."""
        with reading(self.engine) as connection:
            return list(listing(connection, **conditions))

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what the log has of notifications: kinds and facts."""
        query = sa.select(audit_events.c.kind, audit_events.c.payload).order_by(audit_events.c.seq)
        with reading(self.engine) as connection:
            rows = connection.execute(query.where(audit_events.c.kind.like("notification-%"))).all()
        return [(kind, json.loads(payload)) for kind, payload in rows]


@contextmanager
def world(folder: Path, url: str, *targets: dict[str, Any], smtp: dict[str, Any] | None = None) -> Iterator[World]:
    """Yield a node's notifications with these targets."""
    document = {
        "node": {"state_dir": str(folder / "state")},
        "database": {"url": url},
        "console": {"public_url": "https://medfake.example"},
        "notifications": [{"retry": QUICK, "timeout_s": 2, **target} for target in targets],
    }
    if smtp:
        document["smtp"] = {"host": "127.0.0.1", "sender": "medfake@example.org", "timeout_s": 2, **smtp}
    made = World(parse_settings(document, base=folder))
    try:
        yield made
    finally:
        made.notifier.stop()
        made.engine.dispose()


def _hook(server: WebhookServer, **more: Any) -> dict[str, Any]:
    return {"name": "hook", "kind": "webhook", "url": server.url, **more}


def _mail(**more: Any) -> dict[str, Any]:
    return {"name": "mail", "kind": "email", "to": ["a@example.org", "b@example.org"], **more}


def test_a_webhook_is_told_once_and_signed(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    with WebhookServer() as server, world(tmp_path, database_url, _hook(server, secret_file="secret")) as node:
        node.assess("1.2.3", 1, FAKE)
        node.assess("1.2.4", 1, REAL)
        node.tick_until(1, "sent")
        node.notifier.send_due()
        [call] = server.received
        [listed] = node.listed()
        [(kind, event)] = node.events()
    assert call.json["study_instance_uid"] == "1.2.3"
    assert call.json["verdict"] == "fake"
    assert call.json["url"] == "https://medfake.example/studies/1.2.3"
    assert b"PAT" not in call.body
    assert call.headers["content-type"] == "application/json"
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    expected = base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
    assert call.headers["webhook-signature"] == f"v1,{expected}"
    assert call.headers["webhook-id"] == call.json["event_id"]
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    assert (listed.state, listed.attempts, listed.last_status, listed.verdict) == ("sent", 1, 204, "fake")
    assert kind == "notification-sent"
    assert (event["study_instance_uid"], event["patient_id"]) == ("1.2.3", "PAT")
    assert event["payload"]["target"] == "hook"


def test_what_fails_is_tried_again_as_the_same_event(tmp_path: Path, database_url: str) -> None:
    with WebhookServer([500, 302, 429]) as server, world(tmp_path, database_url, _hook(server)) as node:
        node.assess("1.2.3", 1, FAKE)
        node.tick_until(1, "sent")
        assert len({call.headers["webhook-id"] for call in server.received}) == 1
        assert len(server.received) == 4
        assert "webhook-signature" not in server.received[0].headers
        assert [kind for kind, _ in node.events()] == ["notification-failed"] * 3 + ["notification-sent"]
        comments = [event["payload"]["comment"] for _, event in node.events()]
    assert comments[0] == "answered 500 Internal Server Error"
    assert comments[1] == "answered 302 Found; a redirect isn't followed"


def test_a_server_that_asks_for_patience_gets_it(tmp_path: Path, database_url: str) -> None:
    server = WebhookServer([503], headers={"Retry-After": "30"})
    slow = {"first_delay_s": 0.2, "max_delay_s": 3600.0}
    with server, world(tmp_path, database_url, _hook(server, retry=slow)) as node:
        for number in range(3):
            node.assess(f"1.2.{number}", 1, FAKE)
        node.notifier.send_due()
        wait_for(node.events, 10, "the first attempt to be recorded")
        waits = [each.next_attempt_at - time.time() for each in node.listed()]
        assert len(server.received) == 1
    assert all(25 < wait <= 30 for wait in waits)


def test_a_revision_is_told_only_when_the_verdict_changes(tmp_path: Path, database_url: str) -> None:
    with WebhookServer() as server, world(tmp_path, database_url, _hook(server)) as node:
        for revision, label in enumerate((FAKE, FAKE, REAL, FAKE), 1):
            node.assess("1.2.3", revision, label)
        assert [each.revision for each in reversed(node.listed())] == [1, 4]


def test_a_target_that_is_new_is_told_although_the_verdict_is_the_one_before(tmp_path: Path) -> None:
    with world(tmp_path, "") as node:
        node.assess("1.2.3", 1, FAKE)
    with WebhookServer() as server, world(tmp_path, "", _hook(server)) as node:
        node.assess("1.2.3", 2, FAKE)
        assert [each.revision for each in node.listed()] == [2]


def test_a_server_that_hangs_keeps_nobody_else_waiting(tmp_path: Path, database_url: str) -> None:
    with WebhookServer(["hang"] * 99) as dead, WebhookServer(["drip"] * 99) as slow, WebhookServer() as good:
        targets = [_hook(dead), {**_hook(slow), "name": "slow"}, {**_hook(good), "name": "good"}]
        with world(tmp_path, database_url, *targets) as node:
            started = time.monotonic()
            for number in range(5):
                node.assess(f"1.2.{number}", 1, FAKE)
            node.tick_until(5, "sent")
            assert time.monotonic() - started < 2.0
            wait_for(lambda: len(node.events()) >= 7, 20, "the others to be given up for now")
            failed = [event["payload"] for kind, event in node.events() if kind == "notification-failed"]
            # The first of the five was tried and the others put off with it.
            assert len(dead.received) == 1
    assert {facts["target"] for facts in failed} == {"hook", "slow"}
    assert {facts["comment"] for facts in failed} == {"no answer within 2 s"}


def test_what_is_given_up_can_be_sent_again(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    hook = {"name": "hook", "kind": "webhook", "url": f"http://127.0.0.1:{port}/", "retry": {**QUICK}}
    hook["retry"]["give_up_after_s"] = 0.5
    with world(tmp_path, database_url, hook) as node:
        node.assess("1.2.3", 1, FAKE)
        node.tick_until(1, "dead")
        [listed] = node.listed(state="dead")
        assert "can't be reached" in listed.last_comment
        with transaction(node.engine) as connection:
            assert retry(connection, None, time.time(), who="anna") == [listed.notification_id]
        [again] = node.listed(state="waiting")
        events = node.events()
    assert again.finished_at is None
    assert [kind for kind, _ in events[-2:]] == ["notification-dead", "notification-retried"]
    assert events[-1][1]["payload"]["who"] == "anna"


def test_a_target_that_is_gone_from_the_configuration_is_given_up(tmp_path: Path, database_url: str) -> None:
    with WebhookServer() as server, world(tmp_path, database_url, _hook(server)) as node:
        node.assess("1.2.3", 1, FAKE)
    with world(tmp_path, database_url) as node:
        node.notifier.give_up_unknown()
        [listed] = node.listed()
        assert listed.state == "dead"
        assert listed.last_comment == "no notification is named 'hook' any more"
        assert [kind for kind, _ in node.events()] == ["notification-dead"]


def test_two_workers_tell_nobody_twice(tmp_path: Path, postgresql_url: str) -> None:
    with WebhookServer() as server, world(tmp_path, postgresql_url, _hook(server)) as node:
        for number in range(20):
            node.assess(f"1.2.{number}", 1, FAKE)
        second = notifying.Notifier(node.context)
        wait_for(
            lambda: (node.notifier.send_due(), second.send_due(), len(node.listed(state="sent")) == 20)[-1],
            30,
            "everything to be sent",
        )
        second.stop()
        assert len({call.headers["webhook-id"] for call in server.received}) == len(server.received) == 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_by_tls_and_is_signed_in(tmp_path: Path, authority: Path, security: str) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    server = SmtpServer(tls=server_context(authority), implicit_tls=security == "tls")
    with running_smtp(server):
        smtp = {"port": server.port, "security": security, "ca": str(authority / "ca.crt"), "user": "medfake"}
        with world(tmp_path, "", _mail(), smtp=smtp | {"password_file": "password"}) as node:
            node.assess("1.2.3", 1, FAKE)
            node.tick_until(1, "sent")
    [mail] = server.mails
    assert mail == Mail("medfake@example.org", ["a@example.org", "b@example.org"], True, "medfake", mail.data)
    assert b"Subject: A study was assessed as fake\r\n" in mail.data
    assert b"1.2.3, revision 1" in mail.data


@pytest.mark.parametrize(
    ("smtp", "comment"),
    [
        ({"security": "starttls"}, "certificate verify failed"),
        ({"security": "tls"}, "can't be reached"),
        ({"security": "starttls", "host": "localhost", "ca": "ca"}, "certificate is not valid for 'localhost'"),
        ({"security": "starttls", "ca": "ca", "user": "x", "password_file": "wrong"}, "answered 535 5.7.8 wrong"),
    ],
)
def test_no_mail_goes_where_it_cant_be_trusted(
    tmp_path: Path, authority: Path, smtp: dict[str, Any], comment: str
) -> None:
    (tmp_path / "wrong").write_text("nonsense")
    smtp = {**smtp, **({"ca": str(authority / "ca.crt")} if "ca" in smtp else {})}
    with running_smtp(SmtpServer(tls=server_context(authority))) as server:
        with world(tmp_path, "", _mail(), smtp=smtp | {"port": server.port}) as node:
            node.assess("1.2.3", 1, FAKE)
            node.notifier.send_due()
            wait_for(node.events, 10, "the first attempt to be recorded")
            assert comment in node.events()[0][1]["payload"]["comment"]
        assert server.mails == []


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    with running_smtp(SmtpServer()) as server, world(tmp_path, "", _mail(), smtp={"port": server.port}) as node:
        node.assess("1.2.3", 1, FAKE)
        node.notifier.send_due()
        wait_for(node.events, 10, "the first attempt to be recorded")
        assert "STARTTLS" in node.events()[0][1]["payload"]["comment"]
        assert server.mails == []


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_mail_server_that_never_comes_to_the_point_is_left(tmp_path: Path, mode: str) -> None:
    smtp = {"security": "none", "timeout_s": 0.5}
    with (
        running_smtp(SmtpServer(mode=mode)) as server,
        world(tmp_path, "", _mail(), smtp=smtp | {"port": server.port}) as node,
    ):
        node.assess("1.2.3", 1, FAKE)
        started = time.monotonic()
        node.notifier.send_due()
        wait_for(node.events, 10, "the first attempt to be recorded")
        assert time.monotonic() - started < 3.0
        assert "can't be reached" in node.events()[0][1]["payload"]["comment"]


def test_one_recipient_of_two_is_enough_and_the_other_is_named(tmp_path: Path) -> None:
    with running_smtp(SmtpServer(refused=["b@example.org"])) as server:
        smtp = {"security": "none", "port": server.port}
        with world(tmp_path, "", _mail(), smtp=smtp) as node:
            node.assess("1.2.3", 1, FAKE)
            node.tick_until(1, "sent")
            assert node.listed()[0].last_comment == "taken, but refused for 1 of 2 recipients"
        with world(tmp_path, "", _mail(to=["b@example.org"]), smtp=smtp) as node:
            node.assess("1.2.4", 1, FAKE)
            node.notifier.send_due()
            wait_for(lambda: len(node.events()) == 2, 10, "the attempt to be recorded")
            assert "every recipient was refused: 550" in node.listed()[0].last_comment


def test_the_command_tries_one_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WebhookServer([204, 403]) as server, world(tmp_path, "", _hook(server)) as node:
        arguments = type("Arguments", (), {"name": "hook"})
        assert run_test(node.settings, arguments) == 0
        assert run_test(node.settings, arguments) == 1
        arguments.name = "nobody"
        assert run_test(node.settings, arguments) == 2
        assert [call.json["type"] for call in server.received] == ["test", "test"]
    printed = capsys.readouterr()
    assert printed.out == "hook: taken (answered 204 No Content)\n"
    assert "hook: answered 403 Forbidden" in printed.err
    assert "known: hook" in printed.err


def test_a_claim_holds_until_its_time_is_over(tmp_path: Path, database_url: str) -> None:
    with WebhookServer() as server, world(tmp_path, database_url, _hook(server)) as node:
        node.assess("1.2.3", 1, FAKE)
        [item] = _due(node)
        with transaction(node.engine) as connection:
            assert notifying.claim(connection, item, time.time() + 60)
            assert not notifying.claim(connection, item, time.time() + 60)
        assert _due(node) == []
        late = replace(item, attempts=item.attempts + 5)
        with transaction(node.engine) as connection:
            outcome = notifying.Outcome(succeeded=True, status=204, comment="")
            assert notifying.record(connection, late, outcome, node.settings.notifications[0].retry, 1.0) == ""
            unchanged = sa.select(notifications.c.state)
            assert connection.execute(unchanged).scalar_one() == "waiting"


def _due(node: World) -> list[Any]:
    with reading(node.engine) as connection:
        return notifying.due(connection, "hook", time.time(), 10)
