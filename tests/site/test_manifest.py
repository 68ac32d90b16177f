"""The website as an app of its own: its manifest, and the icons that it names."""

import re
import struct
from urllib.parse import urljoin

from flask.testing import FlaskClient


def test_every_page_names_the_manifest_whose_icons_are_there(client: FlaskClient) -> None:
    page = client.get("/login").text
    link = re.search(r'<link rel="manifest" href="([^"]+)">', page)[1]
    theme = r'<meta name="theme-color" media="\(prefers-color-scheme: (\w+)\)" content="#[0-9a-f]{6}">'
    schemes = re.findall(theme, page)
    assert schemes == ["light", "dark"]
    answer = client.get(link)
    assert (answer.status_code, answer.mimetype) == (200, "application/manifest+json")
    manifest = answer.get_json(force=True)
    purposes = {(icon["sizes"], icon.get("purpose", "any")) for icon in manifest["icons"]}
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= purposes
    for icon in manifest["icons"]:
        file = client.get(urljoin(link, icon["src"]))
        assert (file.status_code, file.mimetype) == (200, icon["type"]), icon
        if icon["type"] == "image/png":
            width, height = struct.unpack(">II", file.data[16:24])
            assert f"{width}x{height}" == icon["sizes"]
    apple = client.get(re.search(r'<link rel="apple-touch-icon" href="([^"]+)">', page)[1])
    assert struct.unpack(">II", apple.data[16:24]) == (180, 180)


def test_the_app_begins_where_the_site_is_mounted(client: FlaskClient) -> None:
    link = "/stems/static/manifest.webmanifest"
    manifest = client.get("/static/manifest.webmanifest").get_json(force=True)
    assert urljoin(link, manifest["scope"]) == "/stems/"
    for url in (manifest["start_url"], *(each["url"] for each in manifest["shortcuts"])):
        path = urljoin(link, url).removeprefix("/stems")
        assert client.get(path).location.startswith("/login?next="), "a page that is there, for who is logged in"
