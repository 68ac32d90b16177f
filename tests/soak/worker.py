"""`ezstems worker` with the separator that needs no network."""

from tests.soak.shares import SharingSeparator
from tests.support import fast_worker

if __name__ == "__main__":
    fast_worker.run(SharingSeparator())
