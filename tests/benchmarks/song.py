"""The songs that are measured: noise and tones, as MP3."""

from pathlib import Path

from ezstems.audio.ffmpeg import Child, command


def make_song(seconds: float, folder: Path) -> Path:
    """Make an MP3 where it isn't there yet; by ffmpeg, so that this process's memory stays out of it."""
    path = folder / f"{seconds:g}-seconds.mp3"
    if not path.exists():
        sound = "anoisesrc=a=0.1:c=pink:r=44100[n];sine=f=330:r=44100,tremolo=f=2[t];[n][t]amerge=inputs=2"
        child = Child(command("-y", "-f", "lavfi", "-i", sound, "-t", str(seconds), "-b:a", "192k", str(path)))
        assert child.wait() == 0, child.stderr()
    return path
