"""Seats: how many requests may wait for slow clients at a time. Each takes a thread; the others are for everybody."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Lock

# Strangers have seats of their own.
KNOWN_SEATS, STRANGER_SEATS = 48, 16
# No account takes all seats.
ACCOUNT_SEATS = 16
# For strangers that are waited for, but not yet so long that they count as slow: there is no end of them.
BRIEF_SEATS = 32


class Seats:
    """Count the seats that are taken, and refuse one more than there are."""

    def __init__(
        self,
        known: int = KNOWN_SEATS,
        strangers: int = STRANGER_SEATS,
        account: int = ACCOUNT_SEATS,
        brief: int = BRIEF_SEATS,
    ) -> None:
        self.count = known + strangers + brief
        self._most: dict[str | int, int] = {"known": known, "strangers": strangers, "brief": brief}
        self._most_of_account = account
        self._taken: Counter[str | int] = Counter()
        self._lock = Lock()

    def take(self, account_id: int | None) -> Callable[[], None] | None:
        """Take a seat for an account's request, or a stranger's; return what gives it back, None when all are taken."""
        return self._take("strangers") if account_id is None else self._take("known", account_id)

    def take_brief(self) -> Callable[[], None] | None:
        """Take a seat for a stranger that isn't slow yet; return as `take` does."""
        return self._take("brief")

    def free(self, kind: str) -> int:
        """Tell how many seats of a kind are free."""
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
