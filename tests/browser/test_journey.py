"""A visitor's way through the website: an account, a key, uploads to watch, stems and mixes to take home."""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.browser.dropping import drop
from tests.browser.known_stems import RATE_HZ, stem
from tests.browser.mixers import STEMS, TONES_SECONDS, Mixer, tap
from tests.browser.visitors import Visitor, silence
from tests.support import audio_files
from tests.support.servers import PASSWORD, Server


def read_pcm(path: Path) -> np.ndarray:
    """Decode a 16-bit file: int32 (samples, 2), which sums don't overflow."""
    return np.rint(audio_files.read(path) * 32768).astype(np.int32)


def saved(page: Page, link: Locator, folder: Path) -> Path:
    """Press what downloads; return the file."""
    with page.expect_download() as download:
        link.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_an_account_and_a_key_that_works(server: Server, open_context: Callable[..., BrowserContext]) -> None:
    context = open_context(server, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Make an account").click()
    page.get_by_label("E-mail").fill("journey@example.com")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Make an account").click()
    page.wait_for_url("**/upload")
    page.get_by_role("link", name="Account").click()

    page.get_by_label("Name of a new key").fill("my program")
    page.get_by_role("button", name="Make a key").click()
    dialog = page.get_by_role("dialog", name="Your new API key")
    key = dialog.get_by_label("API key").input_value()
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    answer = requests.get(f"{server.api}/keys.php", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert (answer.status_code, answer.json()["success"]) == (200, True)

    dialog.get_by_role("button", name="Done, I stored it").click()
    row = page.get_by_role("row").filter(has_text="my program")
    expect(row).to_contain_text(key[-8:])
    expect(row).to_contain_text("1 of ")
    assert key not in page.content()
    row.get_by_text("Deactivate", exact=False).first.click()
    row.get_by_role("button", name="Deactivate for good").click()
    expect(row).to_contain_text("deactivated")
    answer = requests.get(f"{server.api}/keys.php", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert answer.status_code == 401


@pytest.fixture
def visitor(server: Server) -> Visitor:
    """Return somebody without any songs."""
    return Visitor(server, f"visitor-{len(server.rows('SELECT id FROM users'))}@example.com")


@pytest.fixture
def held(server: Server) -> Iterator[Server]:
    """Return the server, which finishes no separation until the test lets it."""
    server.hold()
    yield server
    server.release()


def show_percent(server: Server, percent: int) -> None:
    """Let the running separation say how far it is."""
    (server.instance / "percent").write_text(str(percent))


def test_dropped_songs_are_watched_until_they_can_be_mixed(
    held: Server, visitor: Visitor, open_page: Callable[..., Page]
) -> None:
    page = open_page(held, visitor)
    page.goto("/upload")
    drop(page, "[data-dropzone]", {"one.wav": silence(1), "two.wav": silence(1), "three.wav": silence(2)})
    drop(page, "[data-dropzone]", {"notes.txt": b"no song"})
    rows = {name: page.get_by_role("article").filter(has_text=name) for name in ("one", "two", "three", "notes")}
    expect(rows["three"]).to_contain_text("Ready to send")
    expect(rows["notes"]).to_contain_text("Its name must end in")
    page.get_by_label("Stems").select_option("4")
    page.evaluate("window.isSamePage = true")
    page.get_by_role("button", name="Separate 3 songs").click()
    # Until a file's upload is answered, the song may have a row of its own, which has no size.
    sent = page.get_by_role("article").filter(has_text=" KB").filter(has=page.get_by_role("link", name="Open"))
    expect(sent).to_have_count(3)

    for percent in (10, 40, 85):
        show_percent(held, percent)
        expect(rows["one"]).to_contain_text(f"Separating: {percent} %")
    expect(rows["one"].get_by_role("progressbar")).to_have_js_property("value", 0.85)
    expect(rows["two"]).to_contain_text("Waiting: next in the queue")
    expect(rows["three"]).to_contain_text("Waiting: number 2 in the queue")
    first = rows["one"].get_by_role("link", name="Open").get_attribute("href").rpartition("/")[2]
    (held.instance / f"let-{first}").touch()
    expect(rows["one"]).to_contain_text("Done")
    expect(rows["two"]).to_contain_text("Separating: 85 %")
    expect(rows["three"]).to_contain_text("Waiting: next in the queue")
    assert page.evaluate("window.isSamePage")

    # Who leaves the page and comes back finds everything as it is by then.
    page.get_by_role("link", name="API", exact=True).click()
    page.wait_for_url("**/docs")
    page.get_by_role("link", name="Upload", exact=True).click()
    expect(rows["one"]).to_contain_text("Done")
    expect(rows["two"]).to_contain_text("Separating: 85 %")
    expect(rows["three"]).to_contain_text("Waiting: next in the queue")
    expect(rows["notes"]).to_have_count(0)

    rows["three"].get_by_role("link", name="Open").click()
    expect(page.get_by_text("Waiting: next in the queue")).to_be_visible()
    expect(page).to_have_title(re.compile("^Waiting · .*three.wav · EzStems$"))
    page.evaluate("window.isSamePage = true")
    second = next(row["id"] for row in held.rows("SELECT id FROM jobs WHERE status = 'processing'"))
    (held.instance / f"let-{second}").touch()
    expect(page.get_by_text("Separating: 85 %")).to_be_visible()
    expect(page).to_have_title(re.compile("^85 % · .*three.wav · EzStems$"))
    held.release()
    Mixer(page).expect("ready")
    expect(page).to_have_title(re.compile("^[^·%]*three.wav · EzStems$"))
    assert page.evaluate("window.isSamePage")
    Mixer(page).play()

    page.goto("/songs")
    expect(page.get_by_role("article")).to_have_count(3)
    page.get_by_role("searchbox").fill("Two")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("article")).to_have_text(re.compile("two.wav"))


def test_a_file_that_the_server_refuses(
    server: Server, visitor: Visitor, open_page: Callable[..., Page], trouble: list[str]
) -> None:
    page = open_page(server, visitor)
    page.goto("/upload")
    page.get_by_label("Drop songs here").set_input_files(
        [
            {"name": "noise.wav", "mimeType": "audio/wav", "buffer": b"no audio at all"},
            {"name": "empty.mp3", "mimeType": "audio/mpeg", "buffer": b""},
            {"name": "song.wav", "mimeType": "audio/wav", "buffer": silence(1)},
        ]
    )
    expect(page.get_by_role("article").filter(has_text="empty.mp3")).to_contain_text("It is empty.")
    expect(page.get_by_role("article").filter(has_text="empty.mp3")).to_contain_text("0 bytes")
    page.get_by_role("button", name="Separate 2 songs").click()
    row = page.get_by_role("article").filter(has_text="noise.wav")
    expect(row).to_contain_text("The file's content is not WAV audio")
    expect(row).to_contain_text("not sent")
    # The same file would be refused again.
    for each in (row, page.get_by_role("article").filter(has_text="empty.mp3")):
        expect(each.get_by_role("button", name="Remove")).to_be_visible()
        expect(each.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_role("article").filter(has_text="song.wav")).to_contain_text("Done")
    assert len(trouble) == 1 and "status of 400" in trouble.pop(), trouble


def test_a_new_song_is_in_sight_above_those_that_are_done(
    server: Server, visitor: Visitor, open_page: Callable[..., Page], trouble: list[str]
) -> None:
    for number in range(3):
        visitor.wait(visitor.upload(f"old {number}.wav"))
    page = open_page(server, visitor, viewport={"width": 1280, "height": 800})
    page.goto("/upload")
    rows = page.get_by_role("article")
    expect(rows).to_have_text([re.compile(f"old {number}.wav") for number in (2, 1, 0)])
    drop(page, "[data-dropzone]", {"new.wav": silence(1)})
    expect(rows.first).to_contain_text("new.wav")
    for width, height in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        box = rows.first.bounding_box()
        assert box["y"] + box["height"] <= height, (width, box)
        assert box["height"] < 70, "a line, on a phone two"
    # Whoever cancels has not failed, and may think again.
    page.route("**/upload", lambda route: None)
    page.get_by_role("button", name="Separate 1 song").click()
    rows.first.get_by_role("button", name="Cancel").click()
    expect(rows.first).to_contain_text("cancelled")
    expect(rows.first.locator("[data-status=failed], .error:not(:empty)")).to_have_count(0)
    page.unroute("**/upload")
    rows.first.get_by_role("button", name="Try again").click()
    expect(rows.first).to_contain_text("Done")
    assert [each for each in trouble if "ERR_ABORTED" not in each] == []
    trouble.clear()


def test_the_library_follows_its_songs(held: Server, visitor: Visitor, open_page: Callable[..., Page]) -> None:
    names = {visitor.upload(name): name for name in ("good.wav", "bad.wav")}
    good, bad = names
    page = open_page(held, visitor)
    page.goto("/songs")
    rows = {name: page.get_by_role("article").filter(has_text=name) for name in names.values()}
    show_percent(held, 30)
    expect(rows["good.wav"]).to_contain_text("Separating: 30 %")
    expect(rows["bad.wav"]).to_contain_text("Waiting: next in the queue")
    (held.instance / f"let-{good}").touch()
    expect(rows["good.wav"]).to_contain_text("completed")
    (held.instance / "failure").write_text("The file is broken after 3 seconds.")
    (held.instance / f"let-{bad}").touch()
    expect(rows["bad.wav"]).to_contain_text("The file is broken after 3 seconds.")
    expect(rows["bad.wav"]).to_contain_text("failed")


def test_the_library_asks_again_for_a_row_that_did_not_come(
    held: Server, visitor: Visitor, open_page: Callable[..., Page], trouble: list[str]
) -> None:
    song = visitor.upload("song.wav")
    page = open_page(held, visitor)
    page.goto("/songs")
    row = page.get_by_role("article").filter(has_text="song.wav")
    expect(row).to_contain_text("Separating")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if len(lost) == 2:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.abort()

    page.route("**/songs", lose)
    (held.instance / f"let-{song}").touch()
    expect(row).to_contain_text("completed")
    assert [text.rpartition(": ")[2] for text in trouble] == ["net::ERR_FAILED"] * len(lost) and len(lost) == 2, trouble
    trouble.clear()


def test_a_songs_menu_by_keys_and_by_touch(
    server: Server, visitor: Visitor, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    for name in ("one.wav", "two.wav"):
        visitor.wait(visitor.upload(name))
    page = open_page(server, visitor, has_touch=True, timezone_id="Asia/Tokyo", locale="en-GB")
    page.goto("/songs")
    time = page.locator("time").first
    expect(time).to_have_text(re.compile(r"just now|minutes? ago"))
    made = page.evaluate("(iso) => new Date(iso).toLocaleTimeString('en-GB', {timeStyle: 'short'})",
                         time.get_attribute("datetime"))  # fmt: skip
    assert made in time.get_attribute("title")
    one, two = (page.get_by_role("article").filter(has_text=name) for name in ("one.wav", "two.wav"))
    one.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(one.get_by_role("link", name="Open one.wav")).to_have_count(1)
    expect(one.get_by_role("link", name="Open one.wav")).to_be_focused()
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "stems.zip")
    assert zipfile.is_zipfile(tmp_path / "stems.zip")
    page.keyboard.press("Escape")
    expect(one.get_by_role("link", name="Open one.wav")).to_be_hidden()
    expect(one.locator("summary")).to_be_focused()
    tap(one.locator("summary"))
    tap(two.locator("summary"))
    expect(page.locator("details[open]")).to_have_count(1)
    two.get_by_role("link", name="Open two.wav").tap()
    Mixer(page).expect("ready")
    page.go_back()
    tap(one.locator("summary"))
    page.get_by_role("heading", name="Songs").tap()
    expect(page.locator("details[open]")).to_have_count(0)


def test_downloads_are_exact_to_the_sample(
    server: Server, owner: Visitor, tones: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    samples = round(TONES_SECONDS * RATE_HZ)
    known = {name: stem(name, 4, samples).astype(np.int32) for name in STEMS}
    page = open_page(server, owner)
    mixer = Mixer.open(page, tones)

    file = saved(page, page.get_by_role("link", name="Download bass"), tmp_path)
    assert np.array_equal(read_pcm(file), known["bass"])

    file = saved(page, page.get_by_role("link", name="Download ZIP"), tmp_path)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [f"tones - {name}.wav" for name in STEMS]
        archive.extractall(tmp_path)
    for name in STEMS:
        assert np.array_equal(read_pcm(tmp_path / f"tones - {name}.wav"), known[name])

    file = saved(page, mixer.export("This mix"), tmp_path)
    assert file.name == "tones - mix.wav"
    assert np.array_equal(read_pcm(file), sum(known.values()))

    # The mix as it is: one stem louder, one muted.
    mixer.lane("vocals", "volume").fill("150")
    mixer.lane("other", "mute").click()
    mixed = read_pcm(saved(page, mixer.export("This mix"), tmp_path))
    wanted = 1.5 * known["vocals"] + known["drums"] + known["bass"]
    assert mixed.shape == wanted.shape
    assert np.abs(mixed - wanted).max() <= 0.5

    # In every format, without one stem, and some stems.
    without = known["vocals"] + known["bass"] + known["other"]
    for output, tolerance in (("wav", 0), ("flac", 0), ("mp3", None)):
        file = saved(page, mixer.export("Without drums", output), tmp_path)
        assert file.name == f"tones - without drums.{output}"
        found = np.rint(audio_files.read(file) * 32768)
        if tolerance is not None:
            assert np.array_equal(found, without)
        else:
            assert 0 <= len(found) - samples < 3 * 1152
    button = mixer.export("These stems in one file", "flac")
    for name in ("Drums", "Other"):
        page.get_by_label(name, exact=True).uncheck()
    file = saved(page, button, tmp_path)
    assert file.name == "tones - vocals + bass.flac"
    assert np.array_equal(np.rint(audio_files.read(file) * 32768), known["vocals"] + known["bass"])


def test_a_deleted_song_is_gone_at_once(server: Server, visitor: Visitor, open_page: Callable[..., Page]) -> None:
    song = visitor.wait(visitor.upload("gone.wav"))
    key = {"Authorization": f"Bearer {visitor.key()}"}
    assert [path.name for path in server.instance.glob(f"results/{song}*")]
    page = open_page(server, visitor)
    page.goto(f"/songs/{song}")
    page.get_by_role("button", name="Delete gone.wav").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “gone.wav”? Its files go at once.")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Delete gone.wav").click()
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/songs")
    expect(page.get_by_text("No songs yet.")).to_be_visible()
    assert [path for folder in ("uploads", "results") for path in server.instance.glob(f"{folder}/{song}*")] == []
    for call in ("status", "download"):
        answer = requests.get(f"{server.api}/{call}.php", params={"id": song}, headers=key, timeout=60)
        assert answer.status_code == 404, answer.text
