"""How often somebody may try a password or make an account: by the address that calls, and by account."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import IPv6Address, ip_address

from flask import current_app, request

from ezstems.errors import TooManyAttempts, TryLater
from ezstems.models import Attempt, User

# An account is guessed at from many addresses; a single one must not be enough to lock its owner out.
ADDRESSES = 3
DAY_SECONDS = 86_400
# So long an address is known to an account after its last login: whoever guesses elsewhere doesn't lock that one out.
KNOWN_ADDRESS_SECONDS = 30 * DAY_SECONDS
# Whoever has one of these has all of them: an IPv6 network is given out whole.
NETWORK_BITS = 64


def log_in(email: str, password: str) -> User | None:
    """Return the account with this e-mail address and password; raise TooManyAttempts without looking at either."""
    settings = current_app.config
    limit, window = settings["EZSTEMS_LOGIN_ATTEMPTS"], settings["EZSTEMS_LOGIN_WINDOW_SECONDS"]
    address, account = _network(), email.strip().lower()
    pair = f"{account} {address}"
    told = "There were too many wrong passwords from your network"
    from_address = _counted("login from", address, limit, window, told)
    to_account = _counted("login to", account, ADDRESSES * limit, window, "There were too many logins to this account")
    is_known = Attempt.is_counted("login at home", _slot(pair), KNOWN_ADDRESS_SECONDS)
    with from_address, nullcontext() if is_known else to_account:
        user = User.with_password(email, password)
    if user is not None:
        Attempt.take_back("login from", _slot(address))
        Attempt.note("login at home", _slot(pair), KNOWN_ADDRESS_SECONDS)
    return user


def check_password(user: User, password: str) -> bool:
    """Tell whether a password is that of an account that is logged in; its owner, too, may guess only so often."""
    settings = current_app.config
    limit, window = settings["EZSTEMS_LOGIN_ATTEMPTS"], settings["EZSTEMS_LOGIN_WINDOW_SECONDS"]
    with _counted("password of", str(user.id), limit, window, "This account's password was asked for too often"):
        right = user.has_password(password)
    if right:
        Attempt.take_back("password of", _slot(str(user.id)))
    return right


def count_registration() -> None:
    """Raise TooManyAttempts when no more accounts may be made from where the request comes."""
    limit = current_app.config["EZSTEMS_REGISTRATIONS"]
    _count("registration from", _network(), limit, DAY_SECONDS, "There were too many registrations from your network")


@contextmanager
def _counted(kind: str, who: str, limit: int, window_seconds: int, told: str) -> Iterator[None]:
    """Count an attempt, unless it is refused further on and nobody looks at the password."""
    _count(kind, who, limit, window_seconds, told)
    try:
        yield
    except TryLater:
        Attempt.take_back(kind, _slot(who))
        raise


def _count(kind: str, who: str, limit: int, window_seconds: int, told: str) -> None:
    wait = Attempt.wait_seconds(kind, _slot(who), limit, window_seconds)
    if wait:
        raise TooManyAttempts(f"{told}. Try again in {_span(wait)}.", wait)


def _slot(who: str) -> int:
    return Attempt.slot_of(who, current_app.config["SECRET_KEY"])


def _span(seconds: int) -> str:
    """Say how long to wait, in minutes or hours; never less than it is."""
    minutes, hours = -(-seconds // 60), -(-seconds // 3600)
    return "a minute" if minutes == 1 else f"{minutes} minutes" if minutes < 120 else f"{hours} hours"


def _network() -> str:
    """Return the address that calls, or the network that goes with it; all that have none are one."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return f"{int(address) >> NETWORK_BITS:x}"
