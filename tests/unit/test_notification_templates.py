"""What targets are told: the texts that come with the package, an administrator's templates, signatures."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from medfake_pacs.config import NotificationSettings, SmtpSettings, parse_settings
from medfake_pacs.errors import ConfigurationError, NotificationError
from medfake_pacs.notification.mail import message
from medfake_pacs.notification.message import mail_text, webhook_body
from medfake_pacs.notification.notice import Notice, sample_notice
from medfake_pacs.notification.sending import problems
from medfake_pacs.notification.webhook import read_secret, signature

SMTP = SmtpSettings(host="mail.example", sender="medfake@example.org")


def _notice(**facts: object) -> Notice:
    notice = sample_notice("target", "https://medfake.example", event_id="d-1")
    return replace(notice, sample=False, **facts)  # type: ignore[arg-type]


def _webhook(template: Path | None = None) -> NotificationSettings:
    return NotificationSettings(name="target", kind="webhook", url="https://hook.example", template_file=template)


def _mail(template: Path | None = None) -> NotificationSettings:
    return NotificationSettings(name="target", kind="email", to=("a@example.org",), template_file=template)


def test_the_texts_that_come_with_it_hold_no_patient_data() -> None:
    notice = _notice(patient_id="PATIENT", accession_number="ACCESSION")
    told = webhook_body(_webhook(), notice).decode() + "".join(mail_text(_mail(), notice))
    assert "PATIENT" not in told
    assert "ACCESSION" not in told
    assert told.count("https://medfake.example/studies/2.25.1") == 2


def test_a_webhook_is_told_json_whatever_the_facts_hold() -> None:
    body = json.loads(webhook_body(_webhook(), _notice(reason='"}\n\x00</script> ü', probability=None)))
    assert body["reason"] == '"}\n\x00</script> ü'
    assert body["probability"] is None
    assert body["event_id"] == "d-1"
    assert body["type"] == "study-verdict"


def test_a_mail_says_what_it_is_about() -> None:
    subject, body = mail_text(_mail(), _notice(verdict="not assessed", probability=None, reason="no route"))
    assert subject == "A study was assessed as not assessed"
    assert "no route" in body
    assert "probability" not in body


def test_a_template_of_an_administrator_may_tell_the_patient(tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Subject: {{ patient_id }}\n\n{{ accession_number }} {{ assessed_at|time }}\n")
    assert mail_text(_mail(template), _notice(patient_id="P1", accession_number="A1")) == (
        "P1",
        "A1 1970-01-01 00:00:00Z\n",
    )


def test_no_fact_can_become_a_header(tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Subject: {{ patient_id }}\n\ntext\n")
    hostile = "x\r\u2028Bcc: everyone@example.org\r"
    subject, body = mail_text(_mail(template), _notice(patient_id=hostile))
    mail = message(SMTP, ["a@example.org"], "d-1", subject, body, 0.0)
    parsed = message_from_bytes(bytes(mail), policy=policy.SMTP)
    assert parsed["bcc"] is None
    assert parsed["subject"] == "x Bcc: everyone@example.org"


def test_a_line_feed_in_a_fact_ends_up_in_the_body(tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Subject: {{ patient_id }}\n\ntext\n")
    subject, body = mail_text(_mail(template), _notice(patient_id="x\nBcc: y@example.org"))
    parsed = message_from_bytes(bytes(message(SMTP, ["a@example.org"], "d-1", subject, body, 0.0)), policy=policy.SMTP)
    assert parsed["bcc"] is None
    assert parsed["subject"] == "x"


def test_a_mail_has_the_headers_of_a_program() -> None:
    mail = message(SMTP, ["a@example.org", "b@example.org"], "d-1", "Grüße 患者", "Täxt\n", 0.0)
    parsed = message_from_bytes(bytes(mail), policy=policy.SMTP)
    assert parsed["message-id"] == "<d-1@example.org>"
    assert parsed["auto-submitted"] == "auto-generated"
    assert parsed["to"] == "a@example.org, b@example.org"
    assert parsed["date"] == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert parsed["subject"] == "Grüße 患者"
    assert parsed.get_content().strip() == "Täxt"
    assert bytes(mail).isascii()


def test_the_signature_is_that_of_standard_webhooks(tmp_path: Path) -> None:
    # The example of the specification's reference implementations.
    secret = tmp_path / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    made = signature(read_secret(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_plain_secret_is_its_text_without_the_white_space_around_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("  sésame \n", encoding="utf-8")
    made = signature(read_secret(secret), "a", 1, b"{}")
    expected = hmac.new("sésame".encode(), b"a.1.{}", hashlib.sha256).digest()
    assert made == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "line 1"),
        ("no json", "doesn't make JSON"),
        ("{{ 1/0 }}", "division by zero"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 'x' * 1000000 }}", "more than"),
    ],
)
def test_a_webhooks_template_that_cant_be_used_is_found_at_start(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "template").write_text(text)
    entry = {"name": "a", "kind": "webhook", "url": "https://hook.example", "template_file": "template"}
    [problem] = problems(parse_settings({"notifications": [entry]}, base=tmp_path))
    assert problem.key == "notifications[1].template_file"
    assert reason in problem.reason
    assert problem.remedy


@pytest.mark.parametrize("text", ["Hello\n\ntext\n", "Subject:\n\ntext\n", "Subject: x\n\n \n", "\xff"])
def test_a_mails_template_needs_subject_and_body(tmp_path: Path, text: str) -> None:
    (tmp_path / "template").write_bytes(text.encode("latin-1"))
    with pytest.raises(NotificationError):
        mail_text(_mail(tmp_path / "template"), _notice())


def test_secrets_and_certificates_that_cant_be_used_are_found_at_start(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "wrong").write_text("whsec_%%%")
    entry = {"kind": "webhook", "url": "https://hook.example"}
    document = {
        "smtp": {"host": "mail.example", "sender": "a@example.org", "ca": "empty"},
        "notifications": [
            {**entry, "name": "a", "secret_file": "empty", "ca": "wrong"},
            {**entry, "name": "b", "secret_file": "wrong"},
        ],
    }
    found = problems(parse_settings(document, base=tmp_path))
    assert {problem.key for problem in found} == {
        "notifications[1].secret_file", "notifications[1].ca", "notifications[2].secret_file", "smtp.ca",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"notifications": [{"name": "a", "kind": "webhook"}]}, "needs an address"),
        ({"notifications": [{"name": "a", "kind": "email", "to": ["a@b"], "url": "https://x"}]}, "are a webhook's"),
        ({"notifications": [{"name": "a", "kind": "webhook", "url": "https://u:p@x"}]}, "no address of a web"),
        ({"notifications": [{"name": "a", "kind": "email", "to": ["a@b"]}]}, "no server takes e-mail"),
        ({"smtp": {"host": "m", "sender": "a@b", "user": "x"}}, "belong together"),
        ({"smtp": {"host": "m", "sender": "a@b", "user": "x", "password_file": "p", "security": "none"}}, "in clear"),
    ],
)
def test_what_contradicts_itself_is_named(tmp_path: Path, section: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_settings(section, base=tmp_path)


def test_an_address_may_hold_a_key(tmp_path: Path) -> None:
    url = "https://hook.example/x/?sig=a/b&v=1"
    entry = {"name": "a", "kind": "webhook", "url": url}
    assert parse_settings({"notifications": [entry]}, base=tmp_path).notifications[0].url == url
