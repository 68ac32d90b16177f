"""The website in a second browser: a song from upload to deletion, its mixer, and every frame of its sound."""

from collections.abc import Iterator
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ezstems.jobs import STEMS as ALL_STEMS
from tests.browser import test_stretch_sound as sound
from tests.browser.firefox import Firefox, FirefoxMixer, part, until
from tests.browser.known_stems import AMPLITUDE, RATE_HZ
from tests.browser.known_stems import stem as known
from tests.browser.mixers import STEMS, Moment, wraps
from tests.browser.test_previews import CHUNK_FRAMES, HALF, frames_late
from tests.browser.test_previews import READ as READ_PREVIEW
from tests.browser.test_stretch import MOST_CENTS, TAP, VOCALS_HZ, WINDOW
from tests.browser.test_stretch import READ as READ_SOUND
from tests.browser.visitors import Visitor, silence
from tests.support import audio_files
from tests.support.servers import PASSWORD, Server

SECONDS = 13.0
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 700, "hasTouch": True}
ALL = dict.fromkeys(STEMS, 1.0)
NONE = dict.fromkeys(STEMS, 0.0)


@pytest.fixture(scope="module")
def driven() -> Iterator[Firefox]:
    with Firefox() as firefox:
        yield firefox


@pytest.fixture(scope="module")
def server(driven: Firefox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    instance = tmp_path_factory.mktemp("firefox") / "instance"
    with Server(instance, "tests.browser.known_wsgi:app", previews="on") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def firefox(driven: Firefox, server: Server) -> Iterator[Firefox]:
    """Return the browser; at the end no song is held, and no page had any trouble, or asked another host."""
    yield driven
    server.release()
    told = driven("told")
    assert told["trouble"] == []
    assert [url for url in told["asked"] if not url.startswith((f"{server.url}/", f"blob:{server.url}/"))] == []


def log_in(firefox: Firefox, server: Server, email: str) -> None:
    firefox("goto", f"{server.url}/login")
    firefox("fill", "[name=email]", email)
    firefox("fill", "[name=password]", PASSWORD)
    firefox("click", "form [type=submit]")
    firefox.at("/upload")


def expect_pitch(firefox: Firefox, semitones: float) -> None:
    """Wait until the vocals, alone, are heard so many semitones higher."""
    wanted = VOCALS_HZ * 2 ** (semitones / 12)

    def is_heard() -> bool:
        spectrum = np.abs(np.fft.rfft(np.array(firefox.evaluate(READ_SOUND)) * np.hanning(WINDOW), 8 * WINDOW))
        found = np.argmax(spectrum) * RATE_HZ / (8 * WINDOW)
        return bool(found) and abs(1200 * log2(found / wanted)) <= MOST_CENTS

    until(is_heard)


def test_from_an_account_to_a_deleted_song(firefox: Firefox, server: Server, tmp_path: Path) -> None:
    firefox("open", DESK | {"script": TAP})
    firefox("goto", f"{server.url}/register")
    firefox("fill", "[name=email]", "journey@example.com")
    firefox("fill", "[name=password]", PASSWORD)
    firefox("click", "form [type=submit]")
    firefox.at("/upload")

    server.hold()
    (server.instance / "percent").write_text("40")
    song = tmp_path / "tones.wav"
    song.write_bytes(silence(SECONDS))
    firefox("upload", "[type=file]", str(song))
    firefox("click", "[name=stems]")
    firefox("fill", "[name=stems]", "4")
    firefox.click_button("Separate 1 song")
    firefox.until("() => document.querySelector('article').textContent.includes('Separating: 40 %')")
    firefox("click", "article [data-part=open]")
    until(lambda: "/songs/" in firefox("url"))  # the page before has such a title, too
    firefox.until("() => document.title.startsWith('40 % · ')")
    job_id = firefox("url").rpartition("/")[2]
    server.release()
    mixer = FirefoxMixer(firefox)

    # The stems themselves, or their previews, whichever are there by now.
    mixer.play()
    mixer.until_heard(ALL)
    began = mixer.now().position
    mixer.until(lambda moment: moment.position > began + 0.5)
    server.logged(f"job {job_id}: previews of ")
    firefox("reload")
    mixer = FirefoxMixer(firefox)
    firefox("click", part("loop"))  # there is always more of the song, however slow the machine is
    mixer.play()
    mixer.until_heard(ALL)
    asked = firefox.evaluate("() => performance.getEntriesByType('resource').map(({ name }) => name)")
    assert [name for name in asked if "/previews/vocals/" in name] and not [name for name in asked if "/stems/" in name]

    firefox("click", part("solo", "drums"))
    mixer.until_heard(NONE | {"drums": 1.0})
    firefox("click", part("solo", "drums"))
    firefox("click", part("mute", "drums"))
    mixer.set(part("volume", "vocals"), 50)
    mixer.until_heard(ALL | {"drums": 0.0, "vocals": 0.5})
    mixer.set(part("volume", "vocals"), 100)
    firefox("click", part("mute", "drums"))
    mixer.until_heard(ALL)

    # What was uploaded is silence.
    firefox("press", "b")
    mixer.until(lambda moment: moment.state == "playing" and moment.mix == 0)
    firefox("press", "b")
    mixer.until(lambda moment: moment.mix > 0.01)

    firefox("drag", part("ruler"), 0.5, 0.6, False)
    first, last = 0.49 * SECONDS, 0.61 * SECONDS
    mixer.until(lambda moment: first <= moment.position <= last)
    positions = [each.position for each in mixer.follow(2, wraps)]
    assert all(first <= position <= last for position in positions), positions

    firefox("click", part("solo", "vocals"))
    expect_pitch(firefox, 0)
    mixer.set(part("tempo"), 80)
    mixer.expect("playing")
    expect_pitch(firefox, 0)
    mixer.set(part("semitones"), 3)
    mixer.expect("playing")
    expect_pitch(firefox, 3)
    firefox("click", part("stretch-reset"))
    mixer.expect("playing")
    expect_pitch(firefox, 0)
    assert firefox.evaluate("() => early") == [], "nothing changed before it was silent, or in a jump"
    firefox("click", part("loop"))
    mixer.set(part("seek"), 1)
    mixer.until(lambda moment: moment.state == "playing" and 1 <= moment.position < 5)
    firefox("press", " ")
    mixer.expect("paused")

    firefox("click", part("exports") + " summary")
    firefox("click", part("mix"))
    mixed = audio_files.read(firefox.saved("tones - mix.wav"))
    assert np.array_equal(np.rint(mixed * 32768), known("vocals", 4, round(SECONDS * RATE_HZ)))

    firefox.click_button("Delete tones.wav")
    firefox("click", "dialog [value=yes]")
    firefox.at("/songs")
    assert firefox.evaluate("() => document.body.textContent.includes('No songs yet.')")
    assert list(server.instance.glob(f"*/{job_id}*")) == []


def test_a_phone_plays(firefox: Firefox, server: Server) -> None:
    visitor = Visitor(server, "phone@example.com")
    job_id = visitor.wait(visitor.upload("phone.wav", silence(SECONDS)))
    firefox("open", PHONE)
    log_in(firefox, server, visitor.email)
    firefox("goto", f"{server.url}/songs/{job_id}")
    mixer = FirefoxMixer(firefox)
    width = firefox.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width == 0, "nothing is wider than the screen"
    firefox("drag", part("ruler"), 0.5, 0.7, True)
    firefox.until("(loop) => document.querySelector(loop).getAttribute('aria-pressed') === 'true'", part("loop"))
    firefox("click", part("solo", "bass"))
    mixer.play()
    mixer.until_heard(NONE | {"bass": 1.0})
    assert 0.49 * SECONDS <= mixer.now().position <= 0.71 * SECONDS
    firefox.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    firefox("click", part("play"))
    mixer.expect("paused")
    assert set(mixer.now().levels.values()) == {0}


def test_the_demo_plays(firefox: Firefox, server: Server) -> None:
    firefox("open", DESK)
    firefox("goto", server.url)
    mixer = FirefoxMixer(firefox)
    firefox("click", part("loop"))  # there is always more of the song, however slow the machine is
    mixer.play()

    def heard(moment: Moment) -> list[str]:
        return [name for name, level in moment.levels.items() if level > 0]

    mixer.until(lambda moment: heard(moment) == list(ALL_STEMS[5]))
    firefox("click", part("solo", "bass"))
    mixer.until(lambda moment: heard(moment) == ["bass"])


def test_previews_join_to_the_frame(firefox: Firefox, server: Server) -> None:
    visitor = Visitor(server, "previews@example.com")
    job_id = visitor.wait(visitor.upload("seams.wav", silence(SECONDS)))
    server.logged(f"job {job_id}: previews of ")
    firefox("open", DESK)
    log_in(firefox, server, visitor.email)
    firefox("goto", f"{server.url}/songs/{job_id}")
    FirefoxMixer(firefox)
    for stem in STEMS:
        sought = known(stem, 4, 3 * CHUNK_FRAMES)[:, 0] / 32768
        for seam in (CHUNK_FRAMES, 2 * CHUNK_FRAMES):
            frames, samples = firefox.evaluate(READ_PREVIEW, [stem, seam - HALF, seam + HALF])
            assert frames == round(SECONDS * RATE_HZ)
            heard, wanted = np.array(samples).reshape(-1, 2)[:, 0] / 32768, sought[seam - HALF : seam + HALF]
            for half in (slice(None, HALF), slice(HALF, None)):
                assert abs(frames_late(stem, heard[half], wanted[half])) < 0.4, "no whole frame"
            error = heard - wanted
            assert abs(error[HALF] - error[HALF - 1]) < 0.01 * AMPLITUDE / 32768, "a click"


def test_tempo_and_key_sound_as_in_chromium(firefox: Firefox, server: Server) -> None:
    firefox("open", DESK)

    def evaluate(function: str, wanted: dict[str, Any]) -> dict[str, Any]:
        firefox("goto", f"{server.url}/login")
        return firefox.evaluate(function, wanted)

    render = sound.renderer(evaluate)
    for tempo in (0.53, 1.37):
        sound.test_blocks_join_without_a_gap_or_a_frame_twice(render, tempo)
    sound.test_stems_stay_in_step_at_a_tempo(render)
    for tempo, semitones in ((0.8, 0), (1.2, -6)):
        sound.test_pitch_and_length_are_right_up_to_the_treble(render, tempo, semitones)
    sound.test_as_it_is_every_sample_is_the_stem_s_own(render)
