"""What has accepted jobs run, in the order of their numbers; the desk doesn't know by whom."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ezstems.models import Job


class Dispatch(Protocol):
    """Have jobs run, each once; their rows are the truth, and what is lost here is found again from them."""

    # Whose a new job's row is; None where whoever runs it takes it then.
    owner: str | None

    @property
    def full(self) -> bool:
        """Tell whether no further job may wait."""
        ...

    def start(self, replace: Callable[[], None]) -> None:
        """Begin, after the fork; `replace` has this process end in an orderly way and another one take its place."""
        ...

    def duties(self, waited_seconds: Callable[[], float]) -> Sequence[Callable[[], None]]:
        """Return what is to be done every few seconds; how long the last pause was may be asked."""
        ...

    def reserve(self) -> None:
        """Take a seat for a job that is about to be made durable; raise ServerFull when there is none."""
        ...

    def confirm(self) -> None:
        """Raise ServerFull where a reserved seat is taken after all; called in the transaction that stores the job."""
        ...

    def release(self) -> None:
        """Give a reserved seat back."""
        ...

    def add(self, job: Job) -> None:
        """Line a durable job up in its reserved seat; what fails is logged, and made good by the duties."""
        ...

    def remove(self, number: int, job_id: str, *, waited: bool) -> None:
        """Forget a job that was deleted, and waited until then or ran; harmless for one that isn't known."""
        ...

    def positions(self, jobs: Sequence[Job]) -> dict[int, int]:
        """Return the places of jobs by their numbers, 1 being the next to run, 0 for one that isn't waiting."""
        ...

    def at_once(self) -> int:
        """Return how many jobs of one queue run at a time, 1 at least."""
        ...

    def model(self) -> str:
        """Name the weights that separate; raise ConfigurationError where there are none."""
        ...

    def health(self) -> dict[str, Any]:
        """Return what of the box's health is known here, over what the desk says."""
        ...

    def stop(self) -> None:
        """Begin nothing more, and give back what runs."""
        ...

    def leave(self) -> None:
        """Let others know that this process has gone, once nothing of it acts any more."""
        ...
