"""What a model makes of a real song without true stems.

    python -m ezstems.builtin.recipe.figures.listening FILE --sung 2.4-9.2

Who knows where nobody sings and where somebody does can tell a voice from a band by the shares of the energy. The
low end of the voice is where its fundamentals are.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ezstems.builtin.recipe.figures.separation import read_wav, separate
from ezstems.builtin.recipe.songs.effects import SAMPLE_RATE_HZ

FUNDAMENTALS_HZ = (80.0, 600.0)
Span = tuple[float, float]


def main() -> None:
    """Separate a clip into 2, 4 and 5 stems and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--silent", type=_span, required=True, metavar="A-B", help="seconds in which nobody sings")
    parser.add_argument("--sung", type=_span, required=True, metavar="A-B", help="seconds in which somebody does")
    parser.add_argument("--models", type=Path, metavar="DIR", help="has 2stems/, 4stems/ and 5stems/; default: bundled")
    options = parser.parse_args()
    clips = {}
    with TemporaryDirectory() as folder:
        for count in (2, 4, 5):
            target = Path(folder) / str(count)
            separate([options.file], count, options.models, target, Path(folder) / "instance")
            stems = {path.stem: read_wav(path) / 32768 for path in sorted((target / options.file.stem).iterdir())}
            clips[f"{count}stems"] = stems
    low, high = FUNDAMENTALS_HZ
    header = f"energy where nobody sings | while sung | of it below {high:.0f} Hz | {low:.0f} to {high:.0f} Hz"
    print(f"| model | stem | {header} |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for model, stems in clips.items():
        silent, sung = (energy_shares(stems, span) for span in (options.silent, options.sung))
        for stem, audio in stems.items():
            print(f"| {model} | {stem} | {silent[stem]:.1%} | {sung[stem]:.1%} | {_lows(audio, options.sung)} |")
        print(f"| {model} | all together | | | {_lows(np.sum(list(stems.values()), axis=0), options.sung)} |")


def energy_shares(stems: dict[str, np.ndarray], span: Span) -> dict[str, float]:
    """Return the share of each stem in the energy of all of them in a span of time."""
    energies = {stem: float((_cut(audio, span) ** 2).sum()) for stem, audio in stems.items()}
    total = sum(energies.values())
    return {stem: energy / total for stem, energy in energies.items()}


def band_share(audio: np.ndarray, span: Span, band_hz: Span) -> float:
    """Return the share of the energy in a span of time that lies in a band of frequencies."""
    cut = _cut(audio, span)
    powers = (np.abs(np.fft.rfft(cut, axis=0)) ** 2).sum(axis=1)
    hz = np.fft.rfftfreq(len(cut), 1 / SAMPLE_RATE_HZ)
    return float(powers[(hz >= band_hz[0]) & (hz < band_hz[1])].sum() / powers.sum())


def _lows(audio: np.ndarray, span: Span) -> str:
    """Return two cells of the table: the shares of the lows and of the fundamentals."""
    return " | ".join(f"{band_share(audio, span, band):.1%}" for band in ((0.0, FUNDAMENTALS_HZ[1]), FUNDAMENTALS_HZ))


def _cut(audio: np.ndarray, span: Span) -> np.ndarray:
    start, end = (int(seconds * SAMPLE_RATE_HZ) for seconds in span)
    return audio[start:end]


def _span(text: str) -> Span:
    """Parse `2.4-9.2`."""
    start, end = (float(seconds) for seconds in text.split("-"))
    return start, end


if __name__ == "__main__":
    main()
