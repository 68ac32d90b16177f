"""A socket's patience with its client: what it earns and spends, its seats, and its end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ezstems.server import client_socket
from ezstems.server.client_socket import ClientSocket, TooManySlow, TooSlow, WaitBudget
from ezstems.server.seats import BRIEF_SEATS, Seats

Pair = tuple[ClientSocket, socket.socket]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count in hundredths of seconds; a byte earns nothing worth the name."""
    monkeypatch.setattr(client_socket, "QUICK", (0.02, 1e6))
    monkeypatch.setattr(client_socket, "STRANGER_QUICK", (0.02, 1e6))
    monkeypatch.setattr(client_socket, "STRANGER", (0.1, 1e6))
    monkeypatch.setattr(client_socket, "KNOWN", (60.0, 1e6))


@pytest.fixture
def seats() -> Seats:
    return Seats(known=1, strangers=1)


def pair(seats: Seats) -> Pair:
    ours, theirs = socket.socketpair()
    return ClientSocket(ours, seats), theirs


@pytest.fixture
def client(seats: Seats) -> Iterator[Pair]:
    ours, theirs = pair(seats)
    with ours, theirs:
        yield ours, theirs


def free(seats: Seats) -> tuple[int, int]:
    """Return how many seats are free, of the known and of strangers."""
    assert seats.free("brief") == BRIEF_SEATS, "nobody keeps one once the waiting is over"
    return seats.free("known"), seats.free("strangers")


def until_seated(seats: Seats) -> None:
    """Wait until somebody known is waited for in a seat."""
    deadline = time.monotonic() + 60
    while seats.free("known") and time.monotonic() < deadline:
        time.sleep(0.001)


def send_late(seats: Seats, theirs: socket.socket, seconds: float = 0.0) -> None:
    """Send so long after the other end has taken a seat to wait for it."""

    def send() -> None:
        until_seated(seats)
        time.sleep(seconds)
        theirs.sendall(b"late")

    threading.Thread(target=send).start()


def drip(theirs: socket.socket, every_seconds: float) -> threading.Thread:
    """Send a byte at a time until the other end is closed."""

    def send() -> None:
        try:
            while True:
                theirs.sendall(b"x")
                time.sleep(every_seconds)
        except OSError:
            pass

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_bytes_earn_the_time_that_waiting_spends_up_to_the_most() -> None:
    known = WaitBudget(60.0, 8192)
    known.spend(50.0)
    known.earn(8192 * 5)
    assert known.left_seconds == 15.0
    known.earn(10**9)
    assert known.left_seconds == 60.0, "no client saves up hours of it"


def test_what_is_there_is_read_and_written_without_a_seat(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    theirs.sendall(b"abc")
    assert ours.recv(10) == b"abc"
    ours.sendall(b"def")
    assert theirs.recv(10) == b"def"
    theirs.close()
    assert ours.recv(10) == b""
    assert free(seats) == (1, 1)


def test_a_stranger_that_sends_a_byte_at_a_time_is_cut_off(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    dripping = drip(theirs, 0.005)
    with pytest.raises(TooSlow), ours:
        for _ in range(10_000):
            ours.recv(10)
            assert free(seats)[0] == 1
    dripping.join()
    assert free(seats) == (1, 0)
    ours.end_request()
    assert free(seats) == (1, 1)


def test_a_stranger_that_reads_nothing_is_cut_off(client: Pair) -> None:
    ours, _ = client
    with pytest.raises(TooSlow):
        ours.sendall(bytes(50_000_000))


def test_a_slow_reader_gets_everything(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    ours.trust(7)
    received = bytearray()

    def read() -> None:
        until_seated(seats)
        while len(received) < 5_000_000 and (block := theirs.recv(100_000)):
            received.extend(block)
            time.sleep(0.001)

    reading = threading.Thread(target=read)
    reading.start()
    ours.sendall(b"0123456789" * 500_000)
    reading.join()
    assert bytes(received) == b"0123456789" * 500_000
    assert free(seats) == (0, 1)


def test_somebody_known_is_waited_for_longer(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    ours.trust(7)
    send_late(seats, theirs, seconds=0.25)
    assert ours.recv(10) == b"late"
    assert free(seats) == (0, 1)


def test_past_the_seats_the_slow_are_cut_off_at_once_and_the_quick_go_on(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    ours.trust(7)
    send_late(seats, theirs)
    assert ours.recv(10) == b"late"
    for index in range(2):
        other, its = pair(seats)
        with closing(other), closing(its):
            other.trust(7)
            its.sendall(b"quick")
            assert other.recv(10) == b"quick", index
            for _ in range(2):
                with pytest.raises(TooManySlow):
                    other.recv(10)
            other.sendall(b"an answer")
            assert its.recv(10) == b"an answer"


def test_an_account_takes_only_so_many_seats() -> None:
    seats = Seats(known=4, strangers=1, account=2)
    first, second = seats.take(7), seats.take(7)
    assert first is not None and second is not None
    assert seats.take(7) is None
    others = [seats.take(number) for number in (8, 9, 10)]
    assert None not in others[:2] and others[2] is None, "all are taken"
    first()
    assert seats.take(7) is not None
    assert seats.take(7) is None
    assert seats.free("strangers") == 1


def test_so_many_strangers_are_waited_for_even_without_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    seats = Seats(known=1, strangers=1, brief=1)
    ours, theirs = pair(seats)
    with ours, theirs:
        place = seats.take_brief()
        assert place is not None
        with pytest.raises(TooManySlow):
            ours.recv(1)
        place()
        monkeypatch.setattr(client_socket, "STRANGER", (60.0, 1e6))  # however late the timer is
        ours.begin_request()
        threading.Timer(0.01, theirs.sendall, [b"soon"]).start()
        assert ours.recv(10) == b"soon"


@pytest.mark.parametrize(("account_id", "rest"), [(None, "STRANGER_REST_SECONDS"), (7, "KNOWN_REST_SECONDS")])
def test_what_nobody_reads_is_not_waited_for_without_end_however_well_it_comes(
    client: Pair, monkeypatch: pytest.MonkeyPatch, account_id: int | None, rest: str
) -> None:
    monkeypatch.setattr(client_socket, rest, 0.3)
    for name in ("STRANGER", "KNOWN"):
        monkeypatch.setattr(client_socket, name, (60.0, 1.0))
    ours, theirs = client
    ours.begin_request()
    if account_id is not None:
        ours.trust(account_id)
    dripping = drip(theirs, 0.005)
    with ours, pytest.raises(TooSlow), ours.draining():
        for _ in range(10_000):
            ours.recv(10)
    dripping.join()


def test_each_request_begins_anew_as_a_strangers(client: Pair, seats: Seats) -> None:
    ours, theirs = client
    with pytest.raises(TooSlow):
        ours.recv(1)
    assert free(seats) == (1, 0)
    ours.begin_request()
    assert free(seats) == (1, 1)
    theirs.sendall(b"next")
    assert ours.recv(10) == b"next"


def test_a_non_blocking_socket_waits_for_nothing(client: Pair) -> None:
    ours, _ = client
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    with pytest.raises(BlockingIOError):
        ours.sendall(bytes(50_000_000))


def test_others_timeouts_do_not_shorten_patience(client: Pair) -> None:
    ours, theirs = client
    ours.trust(7)
    ours.settimeout(0.001)
    threading.Timer(0.1, theirs.sendall, [b"late"]).start()
    assert ours.recv(10) == b"late"
