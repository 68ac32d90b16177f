"""How long is a file? Its packets are counted, without decoding one, before hours of work begin."""

import re
from logging import getLogger
from pathlib import Path
from time import monotonic

from ezstems.audio.ffmpeg import Child, command
from ezstems.audio.kinds import known, opening
from ezstems.errors import UnreadableAudio

logger = getLogger(__name__)

# An hour's packets take a quarter of a second. What takes longer than this is left to whoever counts the samples.
MOST_SECONDS, MOST_CPU_SECONDS = 60.0, 30
SLACK_SECONDS = 1.0  # an encoder's delay and padding are in the packets, and not in what is decoded
REPORT = re.compile(rb"^out_time_us=(\d+)$", re.MULTILINE)


def refusal(longest_seconds: float) -> UnreadableAudio:
    """Make the error that says how long a file may be."""
    return UnreadableAudio(f"The file is longer than {longest_seconds:.0f} seconds, the most that is separated.")


def refuse_longer(path: Path, longest_seconds: float) -> None:
    """Raise UnreadableAudio when a file's packets last longer than that.

    A header may lie, so it isn't asked; so may a packet, so that the samples have to be counted too.
    """
    arguments = command(*opening(path, known(path.suffix)), *("-c", "copy", "-f", "null", "-", "-progress", "pipe:1"))
    deadline, most_us, text = monotonic() + MOST_SECONDS, (longest_seconds + SLACK_SECONDS) * 1e6, b""
    with Child(arguments, writes=True, cpu_seconds=MOST_CPU_SECONDS) as child:
        try:
            while report := child.read(4096, deadline - monotonic()):
                text = text[-64:] + report  # a line may have come in two pieces
                if any(int(found) > most_us for found in REPORT.findall(text)):
                    logger.info("%s is longer than %s s", path.name, longest_seconds)
                    raise refusal(longest_seconds)
        except TimeoutError:
            logger.warning("the packets of %s could not be counted within %s s", path.name, MOST_SECONDS)
