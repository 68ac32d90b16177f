"""The seats of requests that wait for slow clients: each takes a thread, and the others must not run out of them."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Lock

# Requests that may wait for slow clients at a time; each takes a thread. Strangers have seats of their own.
KNOWN_SEATS, STRANGER_SEATS = 48, 16
# No account takes all seats.
ACCOUNT_SEATS = 16
# Strangers that may be waited for at a time before they take a seat: there is no end of them.
STANDING = 32


class Seats:
    """Bound how many requests wait for slow clients, so that the other threads are there for everybody else."""

    def __init__(
        self,
        known: int = KNOWN_SEATS,
        strangers: int = STRANGER_SEATS,
        account: int = ACCOUNT_SEATS,
        standing: int = STANDING,
    ) -> None:
        self.count = known + strangers + standing
        self._most: dict[str | int, int] = {"known": known, "strangers": strangers, "standing": standing}
        self._most_of_account = account
        self._taken: Counter[str | int] = Counter()
        self._lock = Lock()

    def take(self, account_id: int | None) -> Callable[[], None] | None:
        """Take a seat for an account's request, or a stranger's; return what gives it back, None when all are taken."""
        return self._take("strangers") if account_id is None else self._take("known", account_id)

    def stand(self) -> Callable[[], None] | None:
        """Take one of the places of strangers that are waited for without a seat."""
        return self._take("standing")

    def free(self, kind: str) -> int:
        """Tell how many places of a kind are free."""
        return self._most[kind] - self._taken[kind]

    def _take(self, *counts: str | int) -> Callable[[], None] | None:
        with self._lock:
            if any(self._taken[count] >= self._most.get(count, self._most_of_account) for count in counts):
                return None
            self._taken.update(counts)
        return partial(self._give_back, counts)

    def _give_back(self, counts: tuple[str | int, ...]) -> None:
        with self._lock:
            self._taken -= Counter(counts)  # which forgets an account that has none left
