"""The node as a process of its own, as an administrator would start it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medfake_pacs.demo.case import DemoError
from medfake_pacs.demo.sender import answers_echo
from medfake_pacs.demo.waiting import wait_until

_TEMPLATE_NODE_PORT = "port = 11112"
_TEMPLATE_PACS_PORT = "port = 11113"


def program() -> str:
    """Return the path of ``medfake-pacs``, beside the interpreter that runs this."""
    return str(Path(sys.executable).parent / "medfake-pacs")


def write_configuration(template: Path, target: Path, node_port: int, pacs_port: int) -> None:
    """Write the template with its two ports replaced."""
    text = template.read_text(encoding="utf-8")
    text = text.replace(_TEMPLATE_NODE_PORT, f"port = {node_port}").replace(_TEMPLATE_PACS_PORT, f"port = {pacs_port}")
    target.write_text(text, encoding="utf-8")


@contextmanager
def running_node(configuration: Path, port: int, log: Path, *, timeout_s: float) -> Iterator[None]:
    """Run ``medfake-pacs serve`` until the block ends; enter it when the node answers C-ECHO.

    Its standard error goes to ``log``. At the end it gets SIGTERM, and SIGKILL after ``timeout_s``.

    Raises
    ------
    DemoError
        If it ends before it answers, or doesn't answer within ``timeout_s``.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [program(), "serve", "--config", str(configuration)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=os.environ,
        )  # fmt: skip
        try:
            _await_answer(process, port, log, timeout_s)
            yield
            if process.poll() is not None:
                raise DemoError(f"the node ended with status {process.returncode}; see {log}")
        finally:
            _stop(process, timeout_s)


def _await_answer(process: "subprocess.Popen[bytes]", port: int, log: Path, timeout_s: float) -> None:
    def answered_or_ended() -> bool:
        return process.poll() is not None or answers_echo(port)

    if not wait_until(answered_or_ended, timeout_s):
        raise DemoError(f"the node did not answer within {timeout_s:.0f} s; the end of {log}:\n{_end_of(log)}")
    if process.poll() is not None:
        raise DemoError(f"the node ended with status {process.returncode}; the end of {log}:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])


def _stop(process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
        return
    process.kill()
    process.wait()


def verify_log(configuration: Path) -> tuple[bool, str]:
    """Run ``medfake-pacs audit verify``; return whether the chain is whole, and what the command printed."""
    done = subprocess.run(
        [program(), "audit", "verify", "--config", str(configuration)], capture_output=True, text=True, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()
