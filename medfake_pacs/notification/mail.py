"""Tell people: one e-mail to everyone that a target names."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from medfake_pacs.config import SmtpSettings
from medfake_pacs.errors import NotificationError
from medfake_pacs.notification.outcome import Outcome
from medfake_pacs.notification.webhook import trusted

_UNAVAILABLE = 421


def message(
    smtp: SmtpSettings, recipients: Sequence[str], event_id: str, subject: str, body: str, now: float
) -> EmailMessage:
    """Return the e-mail; its Message-ID is that of the event, so that mail programs tell a repetition.

    Raises
    ------
    NotificationError
        If a header can't be written.
    """
    mail = EmailMessage(policy=SMTP)
    try:
        mail["From"] = smtp.sender
        mail["To"] = ", ".join(recipients)
        mail["Subject"] = subject
        mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
        mail["Message-ID"] = f"<{event_id}@{smtp.sender.rpartition('@')[2]}>"
        # RFC 3834: nobody's absence note shall answer.
        mail["Auto-Submitted"] = "auto-generated"
        # Every server takes 7 bits.
        mail.set_content(body, cte="quoted-printable")
    except (ValueError, UnicodeError) as error:
        raise NotificationError(f"the e-mail can't be written: {error}") from None
    return mail


def send_mail(smtp: SmtpSettings, recipients: Sequence[str], mail: EmailMessage) -> Outcome:
    """Hand an e-mail to the server and return what came of it, within ``smtp.timeout_s`` however slow it is.

    It counts as sent if the server takes it for at least one recipient: trying again would tell that one twice.

    Raises
    ------
    NotificationError
        If the password or the trusted certificates can't be read.
    """
    password = _password(smtp)
    context = trusted(smtp.ca)
    try:
        with _server(smtp, context) as server:
            if smtp.security == "starttls":
                server.starttls(context=context)
            if smtp.user:
                server.login(smtp.user, password)
            refused = server.send_message(mail, from_addr=smtp.sender, to_addrs=list(recipients))
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return _failed(code, f"every recipient was refused: {code} {_text(text)}")
    except smtplib.SMTPResponseException as error:
        text = f"answered {error.smtp_code} {_text(error.smtp_error)}"
        outright = isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError)
        return _failed(error.smtp_code, text, everyone=not outright or error.smtp_code == _UNAVAILABLE)
    except smtplib.SMTPNotSupportedError as error:
        return _failed(None, f"can't do what is asked: {error}", everyone=True)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        return _failed(None, f"can't be reached: {str(error) or type(error).__name__}", everyone=True)
    comment = "" if not refused else f"taken, but refused for {len(refused)} of {len(recipients)} recipients"
    return Outcome(succeeded=True, status=250, comment=comment)


@contextmanager
def _server(smtp: SmtpSettings, context: ssl.SSLContext) -> Iterator[smtplib.SMTP]:
    """Yield a connection that is cut when its time is over, in the midst of whatever the server is at."""
    if smtp.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(timeout=smtp.timeout_s, context=context)
    else:
        server = smtplib.SMTP(timeout=smtp.timeout_s)
    # The certificate must be for this name; smtplib remembers it only where its constructor connects, and
    # that can't be cut short.
    server._host = smtp.host  # type: ignore[attr-defined]

    def cut() -> None:
        with suppress(OSError):
            if server.sock is not None:
                server.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(smtp.timeout_s, cut)
    timer.daemon = True
    timer.start()
    try:
        server.connect(smtp.host, smtp.port)
        yield server
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
    finally:
        timer.cancel()
        server.close()


def _password(smtp: SmtpSettings) -> str:
    if smtp.password_file is None:
        return ""
    try:
        return smtp.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotificationError(f"the mail server's password can't be read: {error}") from None


def _failed(status: int | None, comment: str, *, everyone: bool = False) -> Outcome:
    return Outcome(succeeded=False, status=status, comment=comment, everyone=everyone)


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return " ".join(text.split())[:200]
