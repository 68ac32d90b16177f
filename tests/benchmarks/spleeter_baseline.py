"""Spleeter's own `Separator`, kept warm: a line in names a song, the line out says how many seconds it took.

`baseline` runs this in Spleeter's venv, so it imports nothing of this project.
"""

import json
import os
import sys
from time import monotonic


def main(stems: str) -> None:
    """Separate what stdin names until it ends."""
    songs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # ffmpeg would read it, too
    os.dup2(2, 1)  # what Spleeter and TensorFlow print is no answer
    from spleeter.separator import Separator

    separator = Separator(f"spleeter:{stems}stems", MWF=False)
    for line in songs:
        job = json.loads(line)
        started = monotonic()
        separator.separate_to_file(job["song"], job["target"], codec=job["codec"], bitrate="192k")
        print(monotonic() - started, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
