"""Files over the plan's limit, sent by real clients: each reads its answer, nothing is kept, memory stays flat."""

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.clients.programs import curl, run
from tests.support.audio_files import silent_wav_head
from tests.support.callers import Caller
from tests.support.servers import Server

MIB = 1024 * 1024
LIMIT_BYTES = 30 * MIB
GROWTH_BYTES = 64 * MIB
Client = Callable[..., tuple[int, dict[str, object]]]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with Server(tmp_path_factory.mktemp("large") / "instance") as server:
        yield Caller(server, server.key(plan="basic"))


@pytest.fixture(scope="module")
def memory_bytes(caller: Caller) -> Callable[[], int]:
    """Return a meter: how much the worker's peak is above what it held at rest."""
    (worker,) = caller.server.workers()

    def read(name: str) -> int:
        for line in Path(f"/proc/{worker}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)

    caller.get("keys.php")
    at_rest = read("VmRSS")
    return lambda: read("VmHWM") - at_rest


@pytest.fixture(scope="module")
def make_wav(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a maker of silent WAV files, sparse on disk, of so many bytes."""
    folder = tmp_path_factory.mktemp("wav")

    def make(size_bytes: int) -> Path:
        path = folder / f"{size_bytes}.wav"
        with path.open("wb") as file:
            file.write(silent_wav_head(size_bytes))
            file.truncate(size_bytes)
        return path

    return make


def with_program(program: str, **environ: str) -> Client:
    """Make a client of a program."""

    def send(api: str, key: str, file: Path) -> tuple[int, dict[str, object]]:
        printed = run(program, file.parent, EZSTEMS_API=api, EZSTEMS_KEY=key, EZSTEMS_FILE=str(file), **environ)
        answer = json.loads(printed)
        return answer["status"], answer["body"]

    return send


def with_curl(*options: str) -> Client:
    """Make a client of curl."""

    def send(api: str, key: str, file: Path) -> tuple[int, dict[str, object]]:
        form = ("-H", f"Authorization: Bearer {key}", "-F", f"file=@{file}", "-F", "stems=2")
        printed = curl(file.parent, *options, *form, "-w", "\n%{http_code}", f"{api}/upload.php")
        body, _, status = printed.rpartition("\n")
        return int(status), json.loads(body)

    return send


CLIENTS = {
    "curl, which expects 100-continue": with_curl(),
    "curl, expecting nothing": with_curl("-H", "Expect:"),
    "curl, in chunks": with_curl("-H", "Transfer-Encoding: chunked"),
    "requests": with_program("upload.py"),
    "requests, in chunks": with_program("upload.py", EZSTEMS_CHUNKED="1"),
    "axios": with_program("upload.js"),
    "axios, in chunks": with_program("upload.js", EZSTEMS_CHUNKED="1"),
}
every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())


@every_client
@pytest.mark.parametrize("size_mib", [31, 400])
def test_a_file_over_the_limit_gets_a_400_that_the_client_reads(
    caller: Caller,
    make_wav: Callable[[int], Path],
    memory_bytes: Callable[[], int],
    size_mib: int,
    client: Client,
) -> None:
    server = caller.server
    jobs = server.rows("SELECT count(*) AS jobs FROM jobs")

    status, body = client(server.api, key_of(caller), make_wav(size_mib * MIB))

    assert status == 400
    assert body == {"error": "File too large", "message": "The file is over the 30 MB that the basic plan allows."}
    assert server.uploads() == server.kept_uploads()
    assert server.rows("SELECT count(*) AS jobs FROM jobs") == jobs
    assert memory_bytes() < GROWTH_BYTES


@every_client
def test_a_wrong_key_with_a_large_body_reads_its_401(
    caller: Caller, make_wav: Callable[[int], Path], client: Client
) -> None:
    status, body = client(caller.server.api, "wrong", make_wav(31 * MIB))
    assert (status, body["error"]) == (401, "Unauthorized")
    assert caller.server.uploads() == caller.server.kept_uploads()


@pytest.mark.parametrize("name", ["curl, which expects 100-continue", "requests, in chunks"])
def test_a_file_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(
    caller: Caller, make_wav: Callable[[int], Path], memory_bytes: Callable[[], int], name: str
) -> None:
    status, body = CLIENTS[name](caller.server.api, key_of(caller), make_wav(LIMIT_BYTES))
    assert status == 200, body
    caller.wait(body["data"]["id"])  # type: ignore[index]
    rows = caller.server.rows("SELECT size_bytes FROM jobs WHERE id = ?", body["data"]["id"])  # type: ignore[index]
    assert rows == [{"size_bytes": LIMIT_BYTES}]

    status, body = CLIENTS[name](caller.server.api, key_of(caller), make_wav(LIMIT_BYTES + 1))
    assert (status, body["error"]) == (400, "File too large")
    assert caller.server.uploads() == caller.server.kept_uploads()
    assert memory_bytes() < GROWTH_BYTES


@pytest.mark.parametrize("size_bytes", [LIMIT_BYTES + 1000, 31 * MIB], ids=["cut off late", "refused at once"])
def test_the_next_request_on_the_same_connection_still_works(
    caller: Caller, make_wav: Callable[[int], Path], size_bytes: int
) -> None:
    request = requests.Request(
        "POST",
        f"{caller.server.api}/upload.php",
        files={"file": ("song.wav", make_wav(size_bytes).read_bytes())},
        data={"stems": "2"},
        headers=caller.headers,
    ).prepare()
    connection = http.client.HTTPConnection("127.0.0.1", caller.server.port, timeout=60)
    connection.connect()
    connection.auto_open = 0  # a closed connection is an error from here on, not a new one
    for _ in range(2):
        connection.request("POST", "/api/v1/upload.php", request.body, dict(request.headers))
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (400, "File too large")
        connection.request("GET", "/api/v1/keys.php", headers=caller.headers)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["success"]) == (200, True)
    connection.close()


def key_of(caller: Caller) -> str:
    return caller.headers["Authorization"].removeprefix("Bearer ")
