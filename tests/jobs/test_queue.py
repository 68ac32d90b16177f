"""The FIFO and its pool, without Flask and SQL."""

import threading
import time
from collections.abc import Callable

import pytest

from ezstems.errors import ServerFull
from ezstems.jobs.queue import JobQueue


class Recorder:
    """Run jobs that end when the test says so."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.running = 0
        self.most = 0
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, number: int) -> None:
        with self._lock:
            self.ran.append(number)
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.gate.wait(60)
        with self._lock:
            self.running -= 1
        if number == 13:
            raise RuntimeError("unlucky")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def run() -> Recorder:
    return Recorder()


def test_jobs_run_in_the_order_of_their_numbers_whatever_the_order_of_put(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=10)
    queue.add(1)
    eventually(lambda: run.ran == [1])
    for number in (5, 3, 9, 4):
        queue.add(number)
    assert queue.waiting() == [3, 4, 5, 9]
    assert [queue.position(number) for number in (3, 4, 5, 9)] == [1, 2, 3, 4]
    assert [queue.position(number) for number in (1, 2, 10)] == [None, None, None]
    run.gate.set()
    eventually(lambda: run.ran == [1, 3, 4, 5, 9])
    queue.close(60)


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_run_at_once_and_no_more(run: Recorder, threads: int) -> None:
    queue = JobQueue(run, threads=threads, seats=10)
    for number in range(8):
        queue.add(number)
    eventually(lambda: run.running == threads)
    assert len(queue) == 8 - threads
    run.gate.set()
    eventually(lambda: len(run.ran) == 8)
    assert run.most == threads
    queue.close(60)


def test_seats_bound_what_waits(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=2)
    queue.add(1)
    eventually(lambda: run.ran == [1])
    queue.reserve()
    queue.reserve()
    assert queue.full
    with pytest.raises(ServerFull, match="2 jobs are waiting"):
        queue.reserve()
    queue.add(2, reserved=True)
    assert queue.full  # the seat became a place
    queue.release()
    assert not queue.full
    queue.reserve()
    run.gate.set()
    queue.close(60)


def test_a_recovered_job_needs_no_seat(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=1)
    for number in range(5):
        queue.add(number)
    run.gate.set()
    eventually(lambda: run.ran == [0, 1, 2, 3, 4])
    queue.close(60)


def test_a_job_that_is_here_already_is_not_lined_up_again(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=5)
    for number in (1, 2, 3, 2, 1):
        queue.add(number)
    eventually(lambda: run.ran == [1])
    queue.reserve()
    queue.add(1, reserved=True)
    assert queue.waiting() == [2, 3]
    run.gate.set()
    eventually(lambda: run.ran == [1, 2, 3])
    assert queue.close(60) == []
    assert run.ran == [1, 2, 3]


def test_a_dropped_job_leaves_its_place_and_its_seat(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=3)
    for number in (1, 2, 3, 4):
        queue.add(number)
    eventually(lambda: run.ran == [1])
    assert queue.full
    for number in (3, 3, 1, 99):
        queue.remove(number)
    assert queue.waiting() == [2, 4] and not queue.full
    assert [queue.position(number) for number in (2, 3, 4)] == [1, None, 2]
    queue.add(3)  # it may come back
    queue.remove(2)
    run.gate.set()
    eventually(lambda: run.ran == [1, 3, 4])
    assert queue.close(60) == []
    assert run.ran == [1, 3, 4]


def test_without_a_thread_a_job_keeps_no_place_and_may_be_put_again(
    run: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = JobQueue(run, threads=1, seats=2)
    queue.reserve()
    with monkeypatch.context() as scarce, pytest.raises(RuntimeError, match="new thread"):
        scarce.setattr(threading.Thread, "start", refusing)
        queue.add(1, reserved=True)
    assert (queue.waiting(), queue.full) == ([], False)
    for number in (1, 2):
        queue.add(number)
    run.gate.set()
    eventually(lambda: run.ran == [1, 2])
    assert queue.close(60) == []


def test_a_job_that_raises_stops_nothing_and_is_logged(run: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    run.gate.set()
    queue = JobQueue(run, threads=1, seats=5)
    queue.add(13)
    queue.add(14)
    eventually(lambda: run.ran == [13, 14])
    queue.close(60)
    assert "a job escaped its runner" in caplog.text
    assert "unlucky" in caplog.text


def test_close_waits_for_what_runs_and_starts_nothing_more(run: Recorder) -> None:
    queue = JobQueue(run, threads=1, seats=5)
    queue.add(1)
    queue.add(2)
    eventually(lambda: run.ran == [1])
    threading.Timer(0.1, run.gate.set).start()
    assert queue.close(60) == []
    assert (run.ran, run.running) == ([1], 0)
    queue.add(3)
    assert queue.close(60) == []
    assert run.ran == [1]


def test_close_names_what_does_not_end_in_time(run: Recorder) -> None:
    queue = JobQueue(run, threads=2, seats=5)
    for number in (7, 8, 9):
        queue.add(number)
    eventually(lambda: sorted(run.ran) == [7, 8])
    started = time.monotonic()
    assert queue.close(0.2) == [7, 8]
    assert time.monotonic() - started < 30
    run.gate.set()
    assert queue.close(60) == []
    assert sorted(run.ran) == [7, 8]
