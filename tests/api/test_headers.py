"""What answers tell browsers: a strict policy on pages, no copies of an account's answers, and pages that obey it."""

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import ezstems
from tests.conftest import Account
from tests.support.sessions import log_in, token

PACKAGE = Path(ezstems.__file__).parent
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "media-src": "'self' blob:",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.mark.parametrize(
    "path", ["/", "/login", "/register", "/account", "/password", "/docs/speed", "/nowhere", "/logout"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_pages(client: FlaskClient, account: Account, path: str, inside: bool) -> None:
    if inside:
        log_in(client, account.email)
    answer = client.get(path)
    assert answer.mimetype == "text/html"
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "microphone=()" in answer.headers["Permissions-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    if answer.status_code == 200:
        title = re.search(r"<title>(.+)</title>", answer.text)[1]
        assert "EzStems" in title and (path == "/" or title.endswith("· EzStems"))
        assert answer.text.count("<h1") == 1


def test_other_answers(client: FlaskClient, account: Account) -> None:
    for path in ("/api/v1/keys.php", "/api/v1/nowhere", "/health"):
        answer = client.get(path, headers=account.headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Content-Security-Policy" not in answer.headers
    style = client.get("/static/style.css")
    assert (style.mimetype, style.headers["X-Content-Type-Options"]) == ("text/css", "nosniff")
    assert "no-store" not in style.headers["Cache-Control"] and style.headers["ETag"]


def test_a_views_own_headers_go_before(app: Flask) -> None:
    @app.get("/own")
    def own() -> tuple[dict[str, str], dict[str, str]]:
        return {}, {"Cache-Control": "private, max-age=60"}

    assert app.test_client().get("/own").headers["Cache-Control"] == "private, max-age=60"


def test_no_page_needs_what_the_policy_forbids() -> None:
    templates = sorted((PACKAGE / "templates").rglob("*.html"))
    assert len(templates) > 5
    for path in templates:
        text = path.read_text()
        for script in re.findall(r"<script[^>]*>", text):
            assert 'type="module"' in script and "url_for('static'" in script, f"{path.name}: {script}"
        assert not re.search(r"<script[^>]*>\s*[^<\s]", text), path.name
        assert "<style" not in text and "<iframe" not in text and "<base" not in text.replace("<base.", ""), path.name
        assert not re.search(r"<[^>]*\s(style|on[a-z]+)=", text), path.name
        assert not re.search(r"""(src|href|action)=["'](https?:|//|data:|javascript:)""", text), path.name
    forbidden = re.compile(r"""\beval\(|new Function\(|setAttribute\(["'](style|on)|from ["']https?:""")
    for path in (PACKAGE / "static").rglob("*.js"):
        assert not forbidden.search(path.read_text()), path.name


def test_the_present_page_is_marked_in_the_navigation(client: FlaskClient, account: Account) -> None:
    def marked(path: str) -> list[str]:
        return re.findall(r'<a href="([^"]+)" aria-current="page">', client.get(path).text)

    assert [marked(path) for path in ("/", "/login", "/register")] == [[], ["/login"], ["/register"]]
    log_in(client, account.email)
    assert [marked(path) for path in ("/", "/account")] == [[], ["/account"]]
    assert 'href="/login"' not in client.get("/account").text


def test_every_page_can_be_skipped_to_its_content(client: FlaskClient) -> None:
    for path in ("/", "/login", "/register"):
        text = client.get(path).text
        assert text.index('href="#main"') < text.index("<header") < text.index('<main id="main"')


def test_a_failed_login_keeps_nothing(client: FlaskClient) -> None:
    answer = client.post("/login", data={"email": "a@b", "password": "x", "csrf_token": token(client)})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Cookie"
