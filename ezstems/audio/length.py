"""How long is a file? Its packets are counted, without decoding one, before hours of work begin."""

import re
from logging import getLogger
from pathlib import Path
from time import monotonic

from ezstems.audio.ffmpeg import UNABLE, command, decoder
from ezstems.audio.kinds import input_arguments, known_extension
from ezstems.errors import DecodingFailed, UnreadableAudio

logger = getLogger(__name__)

# An hour's packets take half a second. What takes longer than this is left to whoever counts the samples.
MOST_SECONDS, MOST_CPU_SECONDS = 60.0, 30
SLACK_SECONDS = 1.0  # an encoder's delay and padding are in the packets, and not in what is decoded
# A chained Ogg's next link may begin with a negative duration, which is told without its sign.
MOST_UNITS = 2**31 - 1
# Matroska's unit is a millisecond, to which a packet's few are rounded.
ROUNDING_UNITS = 0.5
READ_BYTES = 64 << 10
# What ffmpeg tells of a file's packets: what a second is divided into, then a line for each, its fourth number the
# duration. Not when it plays: what begins late, after a video, or has a gap isn't longer by that.
UNIT = re.compile(rb"^#tb 0: (\d+)/(\d+)$", re.MULTILINE)
DURATION = re.compile(rb"^0,[^,\n]*,[^,\n]*, *(\d+),", re.MULTILINE)


def too_long_error(longest_seconds: float) -> UnreadableAudio:
    """Make the error that says how long a file may be."""
    return UnreadableAudio(f"The file is longer than {longest_seconds:.0f} seconds, the most that is separated.")


def refuse_longer(path: Path, longest_seconds: float) -> None:
    """Raise UnreadableAudio when a file's packets last longer than that, DecodingFailed when the system doesn't let it.

    A header may lie, so it isn't asked; so may a packet, so that the samples have to be counted too.
    """
    told = ("-c", "copy", "-flush_packets", "0", "-f", "framecrc", "pipe:1")
    arguments = command(*input_arguments(path, known_extension(path.suffix)), *told)
    deadline, unit_seconds, units, rest = monotonic() + MOST_SECONDS, 0.0, 0.0, b""
    with decoder(arguments, cpu_seconds=MOST_CPU_SECONDS) as child:
        try:
            while report := child.read(READ_BYTES, deadline - monotonic()):
                lines, _, rest = (rest + report).rpartition(b"\n")
                if found := UNIT.search(lines):
                    unit_seconds = int(found[1]) / int(found[2])
                durations = [each for each in map(int, DURATION.findall(lines)) if each <= MOST_UNITS]
                units += sum(durations) - len(durations) * ROUNDING_UNITS
                if units * unit_seconds > longest_seconds + SLACK_SECONDS:
                    logger.info("%s is longer than %s s", path.name, longest_seconds)
                    raise too_long_error(longest_seconds)
            child.wait()
            if child.system_failed(path):
                logger.warning("the packets of %s could not be counted: %s", path.name, child.stderr())
                raise DecodingFailed(UNABLE)
        except TimeoutError:
            logger.warning("the packets of %s could not be counted within %s s", path.name, MOST_SECONDS)
