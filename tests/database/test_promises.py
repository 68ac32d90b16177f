"""What is promised of PostgreSQL under several processes: exact limits, ids of their own, sessions, no 500."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from werkzeug.security import generate_password_hash

from ezstems.models import ApiKey
from tests.conftest import IN_CLUSTER, PASSWORD
from tests.support import databases
from tests.support.callers import Caller
from tests.support.servers import Server
from tests.support.sessions import enter, token_in

PROCESSES = 3
BOUND = 7


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server of several processes, whose separations wait; with BACKEND=cluster, those of another box."""
    folder = tmp_path_factory.mktemp("promises") / "instance"
    bounds = {"account_jobs": BOUND, "login_attempts": 6, "rate_window_seconds": 3600}
    wanted = request.getfixturevalue("whole_clusters" if IN_CLUSTER else "postgres_databases")
    with databases.on_postgresql(wanted):
        running = Server(folder, workers=PROCESSES, **bounds)
    with running:
        running.hold()
        yield running


def key_of(server: Server, email: str) -> str:
    """Make an account and a key of it; no command, which takes seconds on a busy machine."""
    key = secrets.token_hex(32)
    hashed = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
    account = "INSERT INTO users (email, password_hash, plan, created_at) VALUES (?, ?, 'basic', now())"
    server.rows(account, email, hashed)
    server.rows(
        "INSERT INTO api_keys (user_id, key_hash, tail, is_active, window_calls, created_at) "
        "SELECT id, ?, ?, true, 0, now() FROM users WHERE email = ?", ApiKey.digest(key), key[-8:], email
    )  # fmt: skip
    return key


def at_once(count: int, call: Callable[[int], int]) -> Counter[int]:
    """Make calls at the same time; count what each came to."""
    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(call, range(count)))


def test_a_keys_limit_is_exact_over_all_processes(server: Server) -> None:
    key = key_of(server, "limited@example.com")
    server.rows("UPDATE api_keys SET rate_limit = 40 WHERE tail = ?", key[-8:])
    answers = at_once(60, lambda _: Caller(server, key).get("keys.php").status_code)
    assert answers == {200: 40, 403: 20}
    assert server.rows("SELECT window_calls FROM api_keys WHERE rate_limit = 40") == [{"window_calls": 40}]


def test_an_accounts_bound_is_exact_over_all_processes(server: Server, song: bytes) -> None:
    key = key_of(server, "bound@example.com")
    answers = at_once(20, lambda _: Caller(server, key).send(song, stems=2).status_code)
    assert answers == {200: BOUND, 403: 20 - BOUND}
    assert server.rows("SELECT count(*) AS made FROM jobs") == [{"made": BOUND}]
    if not IN_CLUSTER:
        assert len(server.uploads()) == BOUND


def test_uploads_of_one_second_get_ids_of_their_own(server: Server, song: bytes) -> None:
    keys = [key_of(server, f"many{number}@example.com") for number in range(4)]
    ids: list[str] = []

    def send(number: int) -> int:
        answer = Caller(server, keys[number % 4]).send(song, stems=4)
        ids.append(answer.json()["data"]["id"])
        return answer.status_code

    assert at_once(4 * BOUND, send) == {200: 4 * BOUND}
    assert len(set(ids)) == 4 * BOUND


def test_wrong_passwords_are_counted_exactly_over_all_processes(server: Server) -> None:
    key_of(server, "guessed@example.com")
    visitor = requests.Session()
    page = visitor.get(f"{server.url}/login", timeout=60).text
    data = {"email": "guessed@example.com", "password": "wrong", "csrf_token": token_in(page)}

    def guess(_number: int) -> int:
        return requests.post(f"{server.url}/login", data=data, cookies=visitor.cookies, timeout=60).status_code

    assert at_once(16, guess) == {200: 6, 429: 10}


def test_a_session_is_known_to_every_process_and_over_everywhere_at_once(server: Server) -> None:
    key = key_of(server, "visitor@example.com")
    assert Caller(server, key).get("keys.php").status_code == 200
    server.rows("DELETE FROM attempts")
    session = enter(server.url, "visitor@example.com")
    account = f"{server.url}/account"
    assert at_once(12, lambda _: requests.get(account, cookies=session.cookies, timeout=60).status_code) == {200: 12}
    session.post(f"{server.url}/logout", timeout=60)
    for _ in range(12):
        answer = requests.get(account, cookies=session.cookies, timeout=60, allow_redirects=False)
        assert answer.status_code == 302
