"""How soon worklist and log answer over HTTP with a million studies, in SQLite and in PostgreSQL."""

import os
import random
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.console.security.sessions import digest
from medfake_pacs.database import open_engine, transaction
from medfake_pacs.database.console_tables import console_sessions, users
from tests.performance.console_cases import Case, log_cases, worklist_cases
from tests.performance.console_database import large_database
from tests.performance.figures import Figure
from tests.support import free_port, wait_for

_AIM_MS = 300.0
_TIMEOUT_S = 60.0
_COOKIE = "medfake-session"
Say = Callable[[str], None]
Times = dict[Case, list[float]]


def measure(folder: Path, cache: Path, studies: int, repetitions: int, say: Say) -> list[Figure]:
    """Return 50th and 95th percentile of each kind of case; the figures of a kind are those of its worst case."""
    figures = []
    for kind in ("sqlite", "postgresql"):
        with large_database(kind, cache, studies, say) as url:
            engine = open_engine(url)
            cases = worklist_cases(engine) + log_cases(engine)
            secret = _signed_in(engine)
            engine.dispose()
            with _console(folder / kind, url) as address:
                for clients in (1, 4):
                    say(f"{kind}, {len(cases)} cases, {clients} client(s)")
                    times = _ask(address, secret, cases, clients, repetitions)
                    figures += _figures(f"{kind}, {studies:,} studies, {clients} client(s)", times)
    return figures


def _signed_in(engine: sa.Engine) -> str:
    """Return the cookie of a new administrator, who may see both pages."""
    secret, now = secrets.token_urlsafe(32), time.time()
    row = {"user_name": f"bench-{secrets.token_hex(4)}", "roles": Role.ADMINISTRATOR, "state": "active"}
    with transaction(engine) as connection:
        user_id = connection.execute(sa.insert(users).values(**row, created_at=now)).inserted_primary_key[0]
        session = {"session_sha256": digest(secret), "user_id": user_id, "host": "127.0.0.1"}
        session |= {"created_at": now, "last_seen_at": now, "expires_at": now + 86_400}
        connection.execute(sa.insert(console_sessions).values(session))
    return secret


@contextmanager
def _console(folder: Path, database_url: str) -> Iterator[str]:
    """Yield the address of a console in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "medfake.toml"
    config.write_text(
        f'[node]\nstate_dir = "state"\n[database]\nurl = "{database_url}"\n[console]\nport = {port}\n', encoding="utf-8"
    )
    command = [sys.executable, "-m", "medfake_pacs", "serve", "--only", "console", "--config", str(config)]
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        wait_for(lambda: process.poll() is not None or _answers(address), _TIMEOUT_S, "the console to answer")
        if process.poll() is not None:
            raise RuntimeError(f"the console ended at once: {(folder / 'log').read_text()[-2000:]}")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=_TIMEOUT_S)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/sign-in").is_success
    except httpx.TransportError:
        return False


def _ask(address: str, secret: str, cases: Sequence[Case], clients: int, repetitions: int) -> Times:
    """Ask for every case, each client in an order of its own; return the milliseconds of each answer."""
    times: Times = {case: [] for case in cases}
    failures: list[str] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(base_url=address, cookies={_COOKIE: secret}, timeout=_TIMEOUT_S) as client:
            client.get("/worklist")
            for _ in range(max(1, repetitions // clients)):
                for case in chance.sample(cases, len(cases)):
                    started = time.perf_counter()
                    answer = client.get(case.address)
                    times[case].append((time.perf_counter() - started) * 1000)
                    if answer.status_code != httpx.codes.OK:
                        failures.append(f"{case.address}: {answer.status_code}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} answers were errors, the first: {failures[0]}")
    return times


def _figures(group: str, times: Times) -> list[Figure]:
    figures = []
    for kind in dict.fromkeys(case.group for case in times):
        mine = {case: taken for case, taken in times.items() if case.group == kind}
        every = [each for taken in mine.values() for each in taken]
        worst = max(mine, key=lambda case: _p95(mine[case]))
        p95 = _p95(mine[worst])
        figures.append(
            Figure(
                group=group,
                name=f"{kind}: p95 of the slowest of {len(mine)}",
                value=p95,
                unit="ms",
                aim=f"under {_AIM_MS:g}",
                reached=p95 < _AIM_MS,
                note=f"{worst.name}; all: p50 {statistics.median(every):.0f}, p95 {_p95(every):.0f}",
                samples=tuple(round(each, 1) for each in mine[worst]),
            )
        )
    return figures


def _p95(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
