"""Durations as people read them."""

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(seconds: float) -> str:
    """Write a duration in the largest unit that divides it."""
    size, name = next((unit for unit in UNITS if seconds % unit[0] == 0), UNITS[-1])
    count = f"{seconds / size:g}" if seconds % 1 else f"{int(seconds) // size}"
    return f"{count} {name}{'' if count == '1' else 's'}"
