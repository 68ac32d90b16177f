"""A song's exports: its stems mixed anew by the server, and sent as they are made."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request
from flask_login import login_required

from ezstems.errors import BadInput, Interrupted, NotReady
from ezstems.jobs import FORMATS, SAMPLE_RATE_HZ, STEMS, Export, Mix, current_desk
from ezstems.models import Job
from ezstems.web.api.download import require_completed
from ezstems.web.filenames import SavedName, saved_name
from ezstems.web.send import files_of
from ezstems.web.site.song_lookup import song_of
from ezstems.web.site.songs import Song

blueprint = Blueprint("exports", __name__)

# Native Instruments' format holds a mix and four stems; a piano goes into `other`.
STEM_FILE_TYPE, STEM_FILE_NAME, LEAST_OF_STEM_FILE = "video/mp4", "all.stem.mp4", 4
EXPORTED = ("wav", "mp3", "flac")
FORMAT, STEM, WITHOUT, GAIN, TEMPO, SEMITONES = "format", "stem", "without", "gain.", "tempo", "semitones"
MOST_GAIN, LEAST_TEMPO, MOST_TEMPO, MOST_SEMITONES = 1.5, 0.5, 1.5, 6
_NUMBER = re.compile(r"\d(\.\d{1,6})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d", re.ASCII)
TOO_MANY_KINDS = "Say only one of stem, without and gain."
OLD = "This song was separated before its length was noted, and can't be mixed anew. Separate it again."


@blueprint.app_template_global("export_formats")
def formats_of(song: Song) -> list[tuple[str, str]]:
    """Return the formats of a song's exports, each in words with about what size."""
    seconds = song.seconds or 0
    wav_bytes = seconds * SAMPLE_RATE_HZ * (4 if song.output.clips else 8)
    sizes = {"wav": wav_bytes, "mp3": seconds * 192_000 / 8}
    wav = "WAV, 16 bit" if song.output.clips else "WAV, 32-bit float"
    words = {"wav": wav, "mp3": "MP3, 192 kbit/s", "flac": "FLAC, 16 bit"}
    return [(name, f"{words[name]}, {sizes[name] / 1e6:.1f} MB" if name in sizes else words[name]) for name in EXPORTED]


@blueprint.get("/songs/<job_id>/export")
@login_required
def export(job_id: str) -> Response:
    """Answer with a mix of stems, which a child makes meanwhile; a mix that fails on its way ends before its end."""
    job = song_of(job_id)
    require_completed(job)
    mix, name, wished = asked(STEMS[job.stems])
    if job.samples is None:
        raise BadInput(OLD)
    output = FORMATS[wished]
    return _sent(job, output.media_type, output.filename(name), lambda: current_desk().exports.mix(job, mix, wished))


@blueprint.get("/songs/<job_id>/stems.mp4")
@login_required
def stem_file(job_id: str) -> Response:
    """Answer with a Stems file, which is made first."""
    job = song_of(job_id)
    require_completed(job)
    if request.args:
        raise BadInput("A Stems file has no parameters.")
    if len(STEMS[job.stems]) < LEAST_OF_STEM_FILE:
        raise BadInput(f"A Stems file needs {LEAST_OF_STEM_FILE} stems or more; this song has {job.stems}.")
    if job.samples is None:
        raise BadInput(OLD)
    client: Any = request.environ.get("gunicorn.socket")

    def make() -> Export:
        exports = current_desk().exports
        try:
            return exports.stem_file(job, STEMS[job.stems], lambda: client is None or not client.has_hung_up())
        except Interrupted as error:
            raise NotReady(str(error)) from None  # which nobody reads

    return _sent(job, STEM_FILE_TYPE, STEM_FILE_NAME, make)


def _sent(job: Job, media_type: str, what: str, make: Callable[[], Export]) -> Response:
    response = Response(mimetype=media_type)
    response.automatically_set_content_length = False  # nobody knows it before the end, and a HEAD least of all
    if request.method == "GET":
        with files_of(job):
            made = make()
        response.response = made
        response.call_on_close(made.close)
        if made.size_bytes is not None:
            response.content_length = made.size_bytes
    response.headers["Content-Disposition"] = named(job, what).disposition()
    response.cache_control.private = response.cache_control.no_store = True
    return response


def named(job: Job, what: str) -> SavedName:
    """Name a file that the website's visitor saves: `Song - vocals.wav`."""
    return saved_name(job.original_name, job.id, what, " - ")


def asked(stems: tuple[str, ...]) -> tuple[Mix, str, str]:
    """Parse the query: what is mixed, how that is called, and its format; raise BadInput that names the rule."""
    names = (FORMAT, STEM, WITHOUT, TEMPO, SEMITONES, *(f"{GAIN}{stem}" for stem in stems))
    for name, values in request.args.lists():
        if name not in names:
            raise BadInput(f"{name[:64]!r} is no parameter of an export; there are {', '.join(names)}.")
        if len(values) > (len(stems) if name == STEM else 1):
            raise BadInput(f"{name} is there {len(values)} times.")
    tempo = _number(TEMPO, request.args.get(TEMPO, "1"), LEAST_TEMPO, MOST_TEMPO)
    semitones = _semitones(request.args.get(SEMITONES, "0"))
    wished = _choice(FORMAT, request.args.get(FORMAT, EXPORTED[0]), EXPORTED)
    gains, name = _gains(stems)
    changed = f", tempo {tempo:g}" if tempo != 1 else ""
    changed += f", key {semitones:+d}" if semitones else ""
    return Mix(gains, tempo, semitones), name + changed, wished


def _gains(stems: tuple[str, ...]) -> tuple[dict[str, float], str]:
    chosen, without = request.args.getlist(STEM), request.args.get(WITHOUT)
    factors = {name.removeprefix(GAIN): raw for name, raw in request.args.items() if name.startswith(GAIN)}
    if sum(map(bool, (chosen, without is not None, factors))) > 1:
        raise BadInput(TOO_MANY_KINDS)
    if without is not None:
        left_out = _choice(WITHOUT, without, stems)
        return {stem: 1.0 for stem in stems if stem != left_out}, f"without {left_out}"
    if factors:
        parsed = {stem: _number(f"{GAIN}{stem}", factors.get(stem, "1"), 0, MOST_GAIN) for stem in stems}
        if not (gains := {stem: gain for stem, gain in parsed.items() if gain}):
            raise BadInput("Every stem is silent: there is nothing to mix.")
        return gains, "mix"
    wanted = {_choice(STEM, raw, stems) for raw in chosen} or set(stems)
    heard = [stem for stem in stems if stem in wanted]
    return dict.fromkeys(heard, 1.0), "mix" if len(heard) == len(stems) else " + ".join(heard)


def _choice(name: str, raw: str, choices: tuple[str, ...]) -> str:
    if raw not in choices:
        raise BadInput(f"{name}={raw[:64]!r} must be one of {', '.join(choices)}.")
    return raw


def _number(name: str, raw: str, least: float, most: float) -> float:
    if not _NUMBER.fullmatch(raw) or not least <= Decimal(raw) <= most:
        raise BadInput(f"{name}={raw[:64]!r} must be a number from {least:g} to {most:g}, such as 0.75.")
    return float(raw)


def _semitones(raw: str) -> int:
    if not _WHOLE.fullmatch(raw) or abs(int(raw)) > MOST_SEMITONES:
        raise BadInput(f"{SEMITONES}={raw[:64]!r} must be a whole number from -{MOST_SEMITONES} to {MOST_SEMITONES}.")
    return int(raw)
