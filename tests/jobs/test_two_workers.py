"""Who may come in, as two worker processes see it: what one of them was told, the other knows at once."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.servers import PASSWORD, Server
from tests.support.sessions import enter, token_in

LIMIT = 6
EMAIL = "someone@example.com"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("two") / "instance", workers=2, login_attempts=LIMIT) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key(EMAIL)


def of_both(server: Server, ask: Callable[[], requests.Response]) -> set[int]:
    """Ask until both workers have answered three times; return the statuses."""
    statuses, workers = set(), Counter[str]()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = ask()
        statuses.add(answer.status_code)
        workers[answer.headers["X-Worker"]] += 1
        if len(workers) == 2 and min(workers.values()) >= 3:
            return statuses
    raise AssertionError(f"one worker answers alone: {workers}")


def test_a_deactivated_key_is_dead_at_once(server: Server, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Connection": "close"}

    def ask() -> requests.Response:
        return requests.get(f"{server.api}/keys.php", headers=headers, timeout=60)

    assert of_both(server, ask) == {200}
    assert requests.delete(f"{server.api}/keys.php", headers=headers, timeout=60).status_code == 200
    assert of_both(server, ask) == {401}
    (row,) = server.rows("SELECT key_hash FROM api_keys")
    assert key not in str(row) and re.fullmatch("[0-9a-f]{64}", row["key_hash"])


def test_an_ended_session_is_dead_at_once(server: Server, key: str) -> None:
    def dies(session: requests.Session, end: Callable[[], object]) -> bool:
        stolen = {"Cookie": f"session={session.cookies['session']}", "Connection": "close"}

        def ask() -> requests.Response:
            return requests.get(f"{server.api}/keys.php", headers=stolen, timeout=60)

        assert of_both(server, ask) == {200}
        end()
        return of_both(server, ask) == {401}

    first, second = enter(server.url, EMAIL), enter(server.url, EMAIL)
    assert dies(first, lambda: first.post(f"{server.url}/logout", timeout=60))
    data = {"present": PASSWORD, "password": PASSWORD}
    third = enter(server.url, EMAIL)
    assert dies(second, lambda: third.post(f"{server.url}/password", data=data, timeout=60))
    assert dies(third, lambda: server.command("users", "set-password", EMAIL, "--password", PASSWORD))
    assert not server.rows("SELECT * FROM sessions")


def test_wrong_passwords_are_counted_together(server: Server, key: str) -> None:
    def attempt(_: int) -> tuple[int, str]:
        with requests.Session() as session:
            page = session.get(f"{server.url}/login", timeout=60)
            data = {"email": EMAIL, "password": "not the password", "csrf_token": token_in(page.text)}
            answer = session.post(f"{server.url}/login", data=data, headers={"Connection": "close"}, timeout=60)
            return answer.status_code, answer.headers["X-Worker"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(24)))
    deadline = time.monotonic() + 60
    while len({worker for _, worker in answers}) < 2:
        assert time.monotonic() < deadline, "one worker answers alone"
        answers.append(attempt(0))
    assert Counter(status for status, _ in answers) == {200: LIMIT, 429: len(answers) - LIMIT}
    assert {row["count"] for row in server.rows("SELECT count FROM attempts WHERE kind = 'login from'")} == {LIMIT}
