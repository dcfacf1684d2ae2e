"""Who is told, in tests: a web server and a mail server on loopback that answer as a test wants."""

import base64
import http.server
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import need_tool


@dataclass
class Received:
    """One POST as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class WebhookServer:
    """Answers each POST with the next of ``answers`` and then with 204; "hang" answers when it is closed."""

    def __init__(self, answers: Sequence[int | str] = (), headers: dict[str, str] | None = None) -> None:
        self.received: list[Received] = []
        self._answers = list(answers)
        self._headers = headers or {}
        self._closing = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body))
        answer = self._answers.pop(0) if self._answers else 204
        if answer == "hang":
            self._closing.wait(60)
            return
        if answer == "drip":
            with suppress(OSError):
                while not self._closing.wait(0.1):
                    request.wfile.write(b"H")
            return
        request.send_response(int(answer))
        for name, value in self._headers.items():
            request.send_header(name, value)
        request.end_headers()

    def __enter__(self) -> "WebhookServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


@dataclass
class Mail:
    """One e-mail as it came: envelope, whether over TLS, who was signed in, the text."""

    sender: str
    recipients: list[str]
    encrypted: bool
    user: str
    data: bytes


@dataclass
class SmtpServer:
    """A small SMTP server: EHLO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA; ``mode`` "hang" never greets."""

    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    mode: str = ""
    refused: Sequence[str] = ()
    password: str = "open sesame"
    mails: list[Mail] = field(default_factory=list)
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)


class _Session(socketserver.BaseRequestHandler):
    owner: SmtpServer

    def handle(self) -> None:
        with suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        self.encrypted, self.user = False, ""
        if self.owner.implicit_tls:
            self._wrap()
        self.file = self.request.makefile("rb")
        if self.owner.mode == "hang":
            self.owner.closing.wait(60)
            return
        if self.owner.mode == "drip":
            while not self.owner.closing.wait(0.1):
                self.request.sendall(b"220-a word\r\n")
            return
        self._say("220 test ESMTP")
        mail = Mail("", [], False, "", b"")
        while line := self.file.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            mail = self._command(verb.upper(), rest, mail)
        self.file.close()

    def _command(self, verb: str, rest: str, mail: Mail) -> Mail:
        if verb == "EHLO":
            offers = ["250-test", "250-8BITMIME"]
            if self.owner.tls and not self.encrypted:
                offers.append("250-STARTTLS")
            self._say("\r\n".join([*offers, "250 AUTH PLAIN"]))
        elif verb == "STARTTLS":
            self._say("220 go on")
            self.file.close()
            self._wrap()
            self.file = self.request.makefile("rb")
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.split(" ")[1]).decode().split("\0")
            good = password == self.owner.password
            self.user = user if good else ""
            self._say("235 welcome" if good else "535 5.7.8 wrong password")
        elif verb == "MAIL":
            self._say("250 ok")
            return Mail(rest[6:].split(">")[0], [], self.encrypted, self.user, b"")
        elif verb == "RCPT":
            address = rest[4:].split(">")[0]
            refused = address in self.owner.refused
            mail.recipients += [] if refused else [address]
            self._say("550 5.1.1 nobody here" if refused else "250 ok")
        elif verb == "DATA":
            self._say("354 go on")
            lines = []
            while (line := self.file.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            mail.data = b"".join(lines)
            self.owner.mails.append(mail)
            self._say("250 taken")
        else:
            self._say("221 bye" if verb == "QUIT" else "250 ok")
        return mail

    def _wrap(self) -> None:
        assert self.owner.tls
        self.request = self.owner.tls.wrap_socket(self.request, server_side=True)
        self.encrypted = True

    def _say(self, text: str) -> None:
        self.request.sendall(text.encode() + b"\r\n")

    def finish(self) -> None:
        self.request.close()


@contextmanager
def running_smtp(server: SmtpServer) -> Iterator[SmtpServer]:
    """Yield a mail server that takes mail on an ephemeral port of loopback."""
    handler = type("Session", (_Session,), {"owner": server})
    with socketserver.ThreadingTCPServer(("127.0.0.1", server.port), handler) as listener:
        server.port = listener.server_address[1]
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield server
        finally:
            server.closing.set()
            listener.shutdown()


def make_authority(folder: Path) -> Path:
    """Make ``ca.crt`` and a certificate for 127.0.0.1 that it signed, ``server.crt`` with ``server.key``."""
    openssl = need_tool("/usr/bin/openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt",
        "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    run("req", *key, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr",
        "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-copy_extensions", "copy", "-out", "server.crt")  # fmt: skip
    return folder


def server_context(authority: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with the authority's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.crt", authority / "server.key")
    return context
