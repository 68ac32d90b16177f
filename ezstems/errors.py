"""The tree of domain errors; none of them knows HTTP, `web/errors.py` alone maps them to answers.

    EzStemsError
    ├── ConfigurationError        a setting, or the machine, doesn't allow a start
    │   └── ModelMissing          the weights that were asked for are not on disk
    ├── BadInput                  the caller's fault; the message echoes the value and the rule
    │   ├── UploadTooLarge        the file is over the account's limit
    │   ├── UnreadableAudio       not decodable audio of the kind its extension says
    │   └── NotReady              the job has no result, or no longer
    ├── Unauthenticated           no valid key or session
    ├── NotFound                  no such thing, or somebody else's
    ├── TryLater                  nothing is wrong with the call but its time
    │   ├── RateLimited           the key's calls of this window are used up
    │   ├── TooManyAttempts       an address, or an account, has had its passwords or registrations
    │   ├── UploadInFlight        another upload has the same Idempotency-Key, and isn't through yet
    │   ├── TooManyJobs           the account has as many unfinished jobs as it may
    │   └── ServerFull            queue or disk
    │       ├── StorageAway       the object store can't be reached
    │       ├── DatabaseLost      the database in use isn't the one on the disk any more
    │       └── ServerBusy        the database
    ├── Interrupted               the separation was told to stop; its job goes back to the queue
    │   └── UploadsAway           the disk of the uploads isn't there; the job waits for it
    ├── DamagedFile               an upload or a result is not what the server put on its disk, or can't be read
    ├── DecodingFailed            ffmpeg was killed, or the system failed it, while it read the file
    ├── EncodingFailed            ffmpeg could not write a stem
    ├── SeparatorCrashed          the process that a separation had for itself died
    ├── TookTooLong               a separation took longer than a job may
    ├── FetchFailed               the official weights could not be downloaded
    └── RemoteFailed              another server didn't do what it was asked; in its own words where it said why

Every message is written for whoever caused the error: no paths, no library's exception text.
"""


class EzStemsError(Exception):
    """Stand at the root of every error that this package raises on purpose."""


class ConfigurationError(EzStemsError):
    """Say which setting is wrong and what it must be."""


class ModelMissing(ConfigurationError):
    """Say which weights are missing and how to get them."""


class BadInput(EzStemsError):
    """Say what was wrong with the input: the value and the rule."""


class UploadTooLarge(BadInput):
    """Say that the file is over the account's limit."""


class UnreadableAudio(BadInput):
    """Say why the file can't be decoded, in words for the uploader."""


class NotReady(BadInput):
    """Say why there is no result to download."""


class Unauthenticated(EzStemsError):
    """Say which credential is missing or wrong."""


class NotFound(EzStemsError):
    """Say what was not found."""


class TryLater(EzStemsError):
    """Say what is used up and when to try again."""

    def __init__(self, message: str, retry_after_seconds: int = 60) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(TryLater):
    """Say that the key's calls are used up."""


class TooManyAttempts(TryLater):
    """Say what was tried too often."""


class UploadInFlight(TryLater):
    """Say which key the upload has that isn't through yet."""


class TooManyJobs(TryLater):
    """Say how many unfinished jobs an account may have."""


class ServerFull(TryLater):
    """Say which of the server's resources is used up."""


class DatabaseLost(ServerFull):
    """Say that what would be written now nobody would find again."""


class StorageAway(ServerFull):
    """Say that the object store can't be reached."""


class ServerBusy(ServerFull):
    """Say what others take up at this moment."""


class Interrupted(EzStemsError):
    """Say that a separation was stopped before its end."""


class UploadsAway(Interrupted):
    """Say that the uploads can't be reached."""


class DamagedFile(EzStemsError):
    """Say that a file was damaged or lost on the server's own disk, in words for its owner."""


class DecodingFailed(EzStemsError):
    """Say that the decoder ended before the file did."""


class EncodingFailed(EzStemsError):
    """Say that a stem could not be written."""


class SeparatorCrashed(EzStemsError):
    """Say that a separation took its own process down."""


class TookTooLong(EzStemsError):
    """Say that a separation took longer than a job may."""


class FetchFailed(EzStemsError):
    """Say why the official weights could not be downloaded."""


class RemoteFailed(EzStemsError):
    """Say why another server didn't separate a file."""
