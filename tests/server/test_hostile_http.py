"""Requests that no honest client sends, over real connections: documented answers alone, and nothing let through."""

import gzip
import re
import time
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ezstems.web.api.upload_form import MAX_PARTS
from tests.clients.programs import curl
from tests.support.callers import Caller
from tests.support.multipart import BOUNDARY, CONTENT_TYPE, body, field, file_part, part
from tests.support.servers import Server
from tests.support.sessions import enter
from tests.support.wire import UPLOAD, Answer, ask, chunked, request, upload

EMAIL = "o'neil+<i>@example.com"
ORIGIN = "https://music.example"
HEADERS = {
    *("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Allow", "Cache-Control", "Connection"),
    *("Content-Disposition", "Content-Length", "Content-Range", "Content-Type", "Cross-Origin-Resource-Policy"),
    *("Date", "Accept-Ranges", "ETag", "Expires", "Last-Modified", "Referrer-Policy", "Retry-After", "Server", "Vary"),
    *("WWW-Authenticate", "X-Content-Type-Options", "X-RateLimit-Limit", "X-RateLimit-Remaining"),
    *("X-Expires-At", "X-RateLimit-Reset", "X-Request-ID", "X-Worker"),
}
STEMS = field("stems", "2")
# What it is called as, of any song: none of these needs one.
PLAIN = file_part(b"no audio")
MB = 1024 * 1024
STATUS = "/api/v1/status.php?id=1_2"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hostile") / "instance", cors_origins=ORIGIN) as server:
        workers = server.workers()
        yield server
        # After everything that was sent, and separated: the same processes, no crash of a view, nothing half-written.
        deadline = time.monotonic() + 60
        while server.rows("SELECT 1 FROM jobs WHERE status IN ('queued', 'processing')"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.workers() == workers
        log = server.log.read_text()
        assert "Traceback" not in log and " 500 " not in log
        assert server.parts() == []


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key(EMAIL, "pro")


def check(answer: Answer) -> None:
    """Assert that an answer is one of the API's: its headers and nobody else's, JSON, and a request id."""
    names = [line.partition(b":")[0].decode() for line in answer.lines]
    assert all(re.fullmatch(rb"[A-Za-z-]+: ?[ -~]*", line) for line in answer.lines), answer
    assert set(names) <= HEADERS and len(set(names)) == len(names), names
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}", answer.headers("X-Request-ID")[0])
    if answer.status >= 400:
        assert answer.status in (400, 401, 404, 405), answer
        said = answer.json()
        assert list(said) == ["error", "message"] and all(said.values()), said
        assert (answer.status == 405) == bool(answer.headers("Allow"))


# What is sent, and the status of every answer to it before the connection closes: none to what never becomes a head.
REQUESTS: dict[str, tuple[bytes, list[int]]] = {
    "HTTP/0.9": (b"GET /api/v1/status.php\r\n\r\n", [400]),
    "HTTP/1.0": (request(version=b"HTTP/1.0"), [404]),
    "HTTP/2.0": (request(version=b"HTTP/2.0"), [400]),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), [400]),
    "TLS": (bytes.fromhex("1603010200010001fc0303") + b"r" * 99 + b"\r\n\r\n", [400]),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", []),
    "PROXY": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + request(), [400]),
    "an empty line first": (b"\r\n" + request(), [404]),
    "empty lines first": (b"\r\n\r\n\r\n" + request(), [400]),
    "two in one go": (request() + request("/api/v1/nowhere"), [404, 404]),
    "CONNECT": (request(method=b"CONNECT"), [405]),
    "TRACE": (request(method=b"TRACE"), [405]),
    "a method in small letters": (request(method=b"get"), [400]),
    "a made-up method": (request(method=b"X-STEAL"), [405]),
    "a long method": (request(method=b"A" * 21), [400]),
    "another method by header": (request(STATUS, b"X-HTTP-Method-Override: DELETE"), [404]),
    "WebSocket": (request(STATUS, b"Connection: Upgrade", b"Upgrade: websocket"), [400]),
    "an upgrade to HTTP/2": (request(STATUS, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), [404]),
    "an absolute target": (request(f"http://evil.example{STATUS}"), [404]),
    "a target of another scheme": (request(f"gopher://evil.example{STATUS}"), [404]),
    "an asterisk": (request("*"), [400]),
    "a NUL in the target": (request(b"/api/\0"), [400]),
    "a quoted NUL in the target": (request("/api/%00"), [404]),
    "a quoted NUL in the id": (request(f"{STATUS}%00"), [400]),
    "raw UTF-8 in the target": (request("/api/v1/status.php?id=ü"), [400]),
    "quoted Latin-1 in the id": (request("/api/v1/status.php?id=%fc%ff"), [400]),
    "line breaks in the id": (request(f"{STATUS}%0d%0aSet-Cookie:%20a=b"), [400]),
    "a space in the target": (request("/api/v1/status.php?id=1 2"), [400]),
    "tabs around the target": (request().replace(b"GET ", b"GET\t"), [400]),
    "a target of 4,000 characters": (request(f"/api/v1/status.php?id={'5' * 3900}"), [400]),
    "a target of 9,000 characters": (request(f"/api/v1/status.php?id={'5' * 9000}"), [400]),
    "a parameter 900 times": (request(STATUS + "&id=1_2" * 500), [404]),
    "the last id counts": (request("/api/v1/status.php?id=junk&id=1_2"), [404]),
    "the last id counts, wrong": (request("/api/v1/status.php?id=1_2&id=junk"), [400]),
    "an id in the body": (request("/api/v1/status.php", b"Content-Length: 6", body=b"id=1_2"), [400]),
    "an id of PHP's arrays": (request("/api/v1/status.php?id[]=1_2"), [400]),
    "dots": (request("/api/v1/../v1/status.php?id=1_2"), [404]),
    "quoted dots": (request("/api/v1/%2e%2e/%2e%2e/etc/passwd"), [404]),
    "lines that end in LF": (b"GET /api/v1/status.php HTTP/1.1\nHost: x\n\n", []),
    "a header that ends in LF": (request(STATUS, b"X-A: a\nX-B: b"), [400]),
    "a header with CR": (request(STATUS, b"X-A: a\rX-B: b"), [400]),
    "a folded header": (request(STATUS, b"X-A: a\r\n b"), [400]),
    "a space before the colon": (request(STATUS, b"X-A : a"), [400]),
    "a NUL in a header": (request(STATUS, b"X-A: a\0b"), [400]),
    "a header without a name": (request(STATUS, b": a"), [400]),
    "a header with a strange name": (request(STATUS, b"X(A: a"), [400]),
    "a header in Latin-1": (request(STATUS, b"X-A: gr\xfc\xdfe"), [404]),
    "200 headers": (request(STATUS, *(b"X-%d: a" % number for number in range(200))), [400]),
    "a header of 9,000 characters": (request(STATUS, b"X-A: " + b"a" * 9000), [400]),
    "two hosts": (request(STATUS, b"Host: evil.example"), [400]),
    "two keys": (request(STATUS, b"Authorization: Bearer x"), [401]),
    "a key in the address": (b"GET /api/v1/keys.php?api_key=" + b"k" * 64 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [401]),
    "a negative length": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: -5"), [400]),
    "a length with a sign": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: +0"), [400]),
    "a hexadecimal length": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: 0x0"), [400]),
    "a length of 5,000 digits": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: " + b"9" * 5000), [400]),
    "a length above 64 bits": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: " + b"9" * 25), [400]),
    "an empty length": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: "), [400]),
    "a list of lengths": (upload(b"", CONTENT_TYPE).replace(b"h: 0", b"h: 0, 0"), [400]),
    "the length twice": (upload(b"abcde", CONTENT_TYPE, b"Content-Length: 5"), [400]),
    "two lengths": (upload(b"abcde", CONTENT_TYPE, b"Content-Length: 6"), [400]),
    "length and chunks": (upload(END + request(), CONTENT_TYPE, b"Transfer-Encoding: chunked"), [400]),
    "chunks and length": (chunked(END + request(), b"Content-Length: 4"), [400]),
    "chunks twice": (chunked(END + request(), b"Transfer-Encoding: chunked"), [400]),
    "chunks of HTTP/1.0": (chunked(END + request()).replace(b"HTTP/1.1", b"HTTP/1.0", 1), [400]),
    "chunked, identity": (chunked(END + request()).replace(b": chunked", b": chunked, identity"), [400]),
    "identity": (chunked(END + request()).replace(b": chunked", b": identity"), [400]),
    "xchunked": (chunked(END + request()).replace(b": chunked", b": xchunked"), [400]),
    "a tab before chunked": (chunked(END + request()).replace(b": chunked", b": \x0bchunked"), [400]),
    "a body where none is due": (request(STATUS, b"Content-Length: %d" % len(request()), body=request()), [404]),
    "chunks": (chunked(b"5\r\nabcde\r\n" + END + request()), [400, 404]),
    "chunks with extensions": (chunked(b'5;a=b;c="d"\r\nabcde\r\n' + END + request()), [400, 404]),
    "chunks with an empty extension": (chunked(b"5;\r\nabcde\r\n" + END + request()), [400]),
    "chunks with 9,000 characters of extensions": (chunked(b"5;a=" + b"b" * 9000 + b"\r\nabcde\r\n" + END), [400]),
    "trailers": (chunked(b"5\r\nabcde\r\n0\r\nX-A: b\r\n\r\n" + request()), [400, 404]),
    "a key in a trailer": (chunked(b"5\r\nabcde\r\n0\r\nAuthorization: Bearer x\r\n\r\n" + request()), [400]),
    "200 trailers": (chunked(b"0\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n"), [400]),
    "a chunk of negative size": (chunked(b"-5\r\nabcde\r\n" + END + request()), [400]),
    "a chunk of 0x5": (chunked(b"0x5\r\nabcde\r\n" + END + request()), [400]),
    "a chunk of 160 bits": (chunked(b"f" * 40 + b"\r\nabcde\r\n" + END + request()), [400]),
    "a size of 9,000 digits": (chunked(b"0" * 9000 + b"5\r\nabcde\r\n"), [400]),
    "chunks that end in LF": (chunked(b"5\nabcde\n0\n\n" + request()), [400]),
    "a chunk that is longer than its size": (chunked(b"5\r\nabcdefgh\r\n" + END + request()), [400]),
    "no chunk at all": (chunked(b""), [400]),
    "an expectation": (upload(b"abcde", CONTENT_TYPE, b"Expect: 100-continue"), [100, 400]),
    "an expectation behind a proxy": (upload(b"abcde", CONTENT_TYPE, b"X-Forwarded-Expect: 100-continue"), [400]),
    "another expectation": (upload(b"abcde", CONTENT_TYPE, b"Expect: miracles"), [400]),
    "a compressed body": (upload(gzip.compress(body(PLAIN, STEMS)), CONTENT_TYPE, b"Content-Encoding: gzip"), [400]),
    "two content types": (upload(body(PLAIN, STEMS), CONTENT_TYPE, b"Content-Type: text/plain"), [400]),
    "no content type": (upload(body(PLAIN, STEMS), None), [400]),
    "a longer content type": (upload(body(PLAIN, STEMS), f"multipart/form-data-x; boundary={BOUNDARY}"), [400]),
    "a boundary after a comma": (upload(body(PLAIN, STEMS), f"multipart/form-data, boundary={BOUNDARY}"), [400]),
    "a boundary with an open quote": (upload(body(PLAIN, STEMS), f'multipart/form-data; boundary="{BOUNDARY}'), [400]),
    "a boundary of 5,000 characters": (upload(b"", "multipart/form-data; boundary=" + "b" * 5000), [400]),
    "the second boundary counts": (upload(body(PLAIN, STEMS), f"{CONTENT_TYPE}; boundary=b"), [400]),
    "no closing boundary": (upload(body(PLAIN, STEMS)[:-4]), [400]),
    "stems in the address": (upload(body(PLAIN), target=UPLOAD + b"?stems=2"), [400]),
    "stems in UTF-16": (upload(body(PLAIN, field("stems", "2".encode("utf-16")))), [400]),
    "a file in Base64": (upload(body(part('name="file"; filename="a.wav"', b"UklGRg==")), CONTENT_TYPE), [400]),
    "headers of a part of 70 kB": (upload(body(part('name="x"', b"", "X-A: " + "a" * 70_000), PLAIN, STEMS)), [400]),
    "10,000 parts": (upload(body(*[field("more", "x")] * 10_000, PLAIN, STEMS)), [400]),
    "headers of a part of 3 MB": (upload(body(part('name="x"', b"", "X-A: " + "a" * 3_000_000), PLAIN, STEMS)), [400]),
    "a field of 8 MB": (upload(body(field("stems", "2" * 8_000_000), PLAIN)), [400]),
}


@pytest.mark.parametrize(("sent", "statuses"), REQUESTS.values(), ids=REQUESTS.keys())
def test_requests(server: Server, key: str, sent: bytes, statuses: list[int]) -> None:
    answers = ask(server, key, sent)
    assert [answer.status for answer in answers] == statuses, answers
    for answer in answers:
        if answer.status != 100:
            check(answer)


def test_a_request_id_is_repeated_only_when_it_is_sane(server: Server, key: str) -> None:
    for sent in (b"", b"a b", b"a\tb", b"<script>", b'a"b', b"gr\xfc\xdfe", b"x" * 129, b"a;b", b"a,b", b"%0d%0aX: y"):
        (answer,) = ask(server, key, request(STATUS, b"X-Request-ID: " + sent))
        check(answer)
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers("X-Request-ID")[0]), sent
    (answer,) = ask(server, key, request(STATUS, b"X-Request-ID: a", b"X-Request-ID: b"))
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers("X-Request-ID")[0])


def test_an_origin_is_repeated_only_when_it_is_named(server: Server, key: str) -> None:
    near = (ORIGIN + ".evil.example", ORIGIN + "/", ORIGIN + ":443", "null", "*", f"{ORIGIN} x", f"{ORIGIN}, x", "<")
    for origin in near:
        (answer,) = ask(server, key, request(STATUS, b"Origin: " + origin.encode()))
        check(answer)
        assert answer.headers("Access-Control-Allow-Origin") == [], origin
    (answer,) = ask(server, key, request(STATUS, b"Origin: " + ORIGIN.encode()))
    check(answer)
    assert answer.headers("Access-Control-Allow-Origin") == [ORIGIN]


def test_several_slashes_are_one(server: Server, key: str, song: bytes) -> None:
    for target in ("//api/v1/status.php", "/api/v1//status.php", "/api//v1/status.php", "///api//v1////status.php"):
        for spelled in (target, target.replace("//", "/%2f"), f"http://127.0.0.1{target}"):
            (answer,) = ask(server, key, request(f"{spelled}?id=1_2&x=//", b"Accept: text/html"))
            check(answer)
            assert (answer.status, answer.json()["message"]) == (404, "There is no job 1_2."), spelled
    (answer,) = ask(server, key, request("/api/v1//status.php?id=1//2"))
    assert "id='1//2' must look like" in answer.json()["message"], "what isn't the path stays as it is"
    (answer,) = ask(server, key, request("//api//nowhere", b"Accept: text/html"))
    check(answer)
    assert answer.status == 404 and answer.json()["message"].startswith("There is nothing here.")
    (answer,) = ask(server, key, upload(body(file_part(song), STEMS), target=b"/api/v1//upload.php"))
    check(answer)
    assert answer.status == 200, "and no redirect, which would lose the body"
    asked = (b"Origin: " + ORIGIN.encode(), b"Access-Control-Request-Method: POST")
    (answer,) = ask(server, key, request("/api//v1/upload.php", *asked, method=b"OPTIONS"))
    assert (answer.status, answer.headers("Access-Control-Allow-Origin")) == (200, [ORIGIN])
    server.logged(" POST '/api/v1//upload.php' 200 ")


def test_encoded_bodies_are_refused_by_name(server: Server, key: str) -> None:
    form, codings = body(PLAIN, STEMS), ("gzip", "x-gzip", "deflate", "br", "zstd", "GZIP", "identity, br")
    for header in (
        *(f"Content-Encoding: {coding}" for coding in codings),
        *(f"Transfer-Encoding: {coding}, chunked" for coding in ("gzip", "deflate", "compress")),
    ):
        name, _, value = header.partition(": ")
        said = f"{name}={value!r} is not decoded here: the body must be sent plain."
        packed = gzip.compress(form)
        if name == "Transfer-Encoding":
            sent = chunked(b"%x\r\n" % len(packed) + packed + b"\r\n" + END)
            sent = sent.replace(b"Transfer-Encoding: chunked", header.encode())
        else:
            sent = upload(packed, CONTENT_TYPE, header.encode())
        (answer,) = ask(server, key, sent)
        check(answer)
        assert (answer.status, answer.json()["message"]) == (400, said), header
    for header in (b"Content-Encoding: identity", b"Content-Encoding:", b"Content-Encoding: Identity, identity"):
        (answer,) = ask(server, key, upload(form, CONTENT_TYPE, header))
        check(answer)
        assert answer.json()["error"] == "Invalid audio file", header


def test_an_encoded_form_of_the_website_is_refused_by_name(server: Server, key: str) -> None:
    said = "Content-Encoding='gzip' is not decoded here: the body must be sent plain."
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    with enter(server.url, EMAIL) as session:
        for path in ("/api/v1/keys.php", "/login", "/account/keys"):
            answer = session.post(f"{server.url}{path}", gzip.compress(b"name=x"), headers=headers, timeout=60)
            assert answer.status_code == 400
            assert said in unescape(answer.text), path


def test_no_redirect_leads_elsewhere(server: Server, key: str) -> None:
    for target in (
        "http://evil.example",
        "//evil.example/songs",
        "/songs?next=//evil.example",
        "///evil.example",
        "//songs",
        "/%2fevil.example/songs",
        "//login?next=//evil.example",
        "//static//..//..//evil.example",
        "/songs/%0d%0aSet-Cookie:%20a=b",
        "/songs/%2f%2fevil.example",
        "/%5cevil.example",
        "/account%00",
        "/songs?a=%0d%0aX-Evil:%20b",
        "/songs?a=%ff%fe&b=%22%3e%3cscript%3e",
    ):
        sent = request(target, b"X-Forwarded-Host: evil.example", b"X-Forwarded-Prefix: /evil", b"Script-Name: /evil")
        (answer,) = ask(server, key, sent.replace(b"Authorization", b"X-A"))
        assert answer.status in (200, 302, 308, 404), (target, answer)
        assert all(re.fullmatch(rb"[A-Za-z-]+: ?[ -~]*", line) for line in answer.lines), answer
        assert not answer.headers("X-Evil") and "a=b" not in str(answer.headers("Set-Cookie")), answer
        for place in answer.headers("Location"):
            assert urlsplit(place).netloc in ("", "127.0.0.1"), (target, place)
            assert "\\" not in place and urlsplit(place).path in ("/", "/login"), (target, place)


# What stands behind `filename=` in a file's part, and the name that the song gets; None: it is refused.
NAMES: dict[bytes, str | None] = {
    '"grüße ♫ 🎵.wav"'.encode(): "grüße ♫ 🎵.wav",
    '"👨\u200d👩\u200d👧\u3000曲.wav"'.encode(): "👨\u200d👩\u200d👧\u3000曲.wav",
    b'"gr\xfc\xdfe \x84x\x93.wav"': "grüße „x“.wav",
    b'"a\xff\x81b.wav"': "aÿ\ufffdb.wav",
    b'"a\xed\xa0\x80b.wav"': "aí\xa0€b.wav",
    b'"a\0b.wav"': "ab.wav",
    b'"a.wav\0.txt"': None,
    b'"../../../etc/passwd.wav"': "passwd.wav",
    b'"/etc/cron.d/x.wav"': "x.wav",
    b'"..\\\\..\\\\x.wav"': "x.wav",
    b'"C:\\\\Users\\\\me\\\\song.wav"': "song.wav",
    b'"C:\\Users\\me\\"': None,
    b'"C:\\Users\\new\\song.wav"': "song.wav",
    b'"C:/Users/me/song.wav"': "song.wav",
    b'"\\\\server\\share\\say \\"hi\\".wav"': 'say "hi".wav',
    b'"say "hi".wav"': 'say "hi".wav',
    b'"say "hi" ; no.wav"': None,
    b'"x.wav"; more="C:\\y.wav"': "x.wav",
    b"C:\\music\\bare.wav": None,
    b"\"x.wav\"; filename*=UTF-8''C%3A%5Cmusic%5Cgr%C3%BC.wav": "grü.wav",
    b'"C:song.wav"': "C:song.wav",
    b'"-rf.wav"': "-rf.wav",
    b'"CON.wav"': "CON.wav",
    b'"..wav"': "..wav",
    b'".wav"': None,
    b'".."': None,
    b'"x.wav/"': None,
    b'"' + b"x" * 10_000 + b'.wav"': "x" * 251 + ".wav",
    b'"' + "ü".encode() * 10_000 + b'.wav"': "ü" * 251 + ".wav",
    '"a\u202evaw.exe\u202c.wav"'.encode(): "avaw.exe.wav",
    b'"a\\"b.wav"': 'a"b.wav',
    b'"a%22b%0d%0ax.wav"': 'a"b%0d%0ax.wav',
    b'"a\r\nX-Evil: b.wav"': None,
    b'"a\r\n b.wav"': "a b.wav",
    b'"</h1><script src=//evil.example>.wav"': "evil.example>.wav",
    b'"<script>alert(1)<!--.wav"': "<script>alert(1)<!--.wav",
    b'"<img src=x onerror=alert(1)>.wav"': "<img src=x onerror=alert(1)>.wav",
    b"\"' onload='x' a=\\\"&lt;.wav\"": "' onload='x' a=\"&lt;.wav",
    b'"{{ 7 * 7 }}${7*7}%s.wav"': "{{ 7 * 7 }}${7*7}%s.wav",
    b'"x.wav"; filename*=UTF-8\'\'gr%C3%BC%C3%9Fe.wav': "grüße.wav",
    b"x; filename*=ISO-8859-1''gr%FC.wav": "grü.wav",
    b"\"x.wav\"; filename*=UTF-8''..%2F..%2Fy%00%0D%0A.wav": "y.wav",
    b"\"x.wav\"; filename*=UTF-8''%ff.wav": "\ufffd.wav",
    b'"=?utf-8?B?Z3LDvC53YXY=?="; filename*=utf-8\'\'gr%C3%BC.wav': "grü.wav",
    b'"=?UTF-8?B?Z3LDvC53YXY=?="': "grü.wav",
    b'"=?utf-8?Q?gr=C3=BC_x.wav?="': "grü x.wav",
    b'"=?UTF-8?B?0J/QtQ==?= =?UTF-8?B?0YHQvdGP?= =?koi8-r?Q?=2Ewav?="': "Песня.wav",
    b'"=?UTF-8?B?0J/Q?= =?UTF-8?B?tdGB0L3Rjw==?=.wav"': "Песня.wav",
    b'"a =?iso-8859-1*de?q?=FC?= b.wav"': "a ü b.wav",
    b'"=?utf-8?Q?=2E=2E=2Fetc=2Fx=00=0D=0A.wav?="': "x.wav",
    b'"=?utf-8?Q?C=3A=5Cmusic=5Cx.wav?="': "x.wav",
    b'"=?no-such?B?Z3LDvC53YXY=?=.wav"': "=?no-such?B?Z3LDvC53YXY=?=.wav",
    b'"=?utf-8?B?Z?=.wav"': "=?utf-8?B?Z?=.wav",
    b'"=?utf-8?B?//8=?=.wav"': "\ufffd\ufffd.wav",
    b'"a.txt"; filename="b.wav"': "b.wav",
    b'""': None,
}
# Uploads whose form is strange, and yet PHP would take them.
STRANGE = {
    "the last stems count": [field("stems", "9"), STEMS],
    "the last file counts": [part('name="file"; filename="a.wav"', b"junk")],
    "the form goes before the address": [field("cutoff", "16")],
    "a form in a form": [
        part('name="x"', body(PLAIN, field("stems", "9"), boundary="b"), "Content-Type: multipart/mixed; boundary=b")
    ],
    "blank optional fields": [field("cutoff", " "), field("output", "")],
    "the last of several is blank": [*map(field, ("cutoff", "output") * 2, ("16", "mp3", "", "\t\r\n "))],
    "a charset": [field("_charset_", "utf-16")],
    "a field without a name": [part("x=y", b"x")],
    "a field with a name of 60 kB": [part('name="' + "n" * 60_000 + '"', b"x")],
    "a field that nobody knows, of 8 MB": [field("comment", "2" * 8_000_000)],
    "a field name in Latin-1": [part(b'name="st\xe9ms"', b"9")],
    "5,000 parameters of a part": [part('name="x"' + "; a=b" * 5000, b"x")],
}


@pytest.fixture(scope="module")
def names(server: Server, key: str, song: bytes) -> dict[str, str]:
    """Upload songs of every name that is taken; return the names by job, all completed."""
    caller, jobs = Caller(server, key), {}
    for raw, name in NAMES.items():
        content = body(part(b'name="file"; filename=' + raw, song), STEMS)
        (answer,) = ask(server, key, upload(content))
        check(answer)
        assert answer.status == (400 if name is None else 200), (raw, answer)
        if name is not None:
            jobs[answer.json()["data"]["id"]] = name
    for job_id in jobs:
        caller.wait(job_id)
    return jobs


def test_names_of_files(server: Server, key: str, names: dict[str, str]) -> None:
    rows = server.rows("SELECT id, original_name FROM jobs")
    assert {row["id"]: row["original_name"] for row in rows if row["id"] in names} == names
    for job_id in names:
        (answer,) = ask(server, key, request(f"/api/v1/download.php?id={job_id}"))
        check(answer)
        (value,) = answer.headers("Content-Disposition")
        plain = r"""("[^"\\/:*?<>|%]+"|[!#$&'+.^_`~\w-]+)"""
        assert re.fullmatch(rf"attachment; filename={plain}(; filename\*=UTF-8''[\w%.~!#$&+^`|-]+)?", value), value
    folders = [server.instance / folder for folder in ("uploads", "results")]
    assert all(re.fullmatch(r"\d+_2[\w.]*", file.name) for folder in folders for file in folder.iterdir())


def test_curl_saves_each_song_under_a_name_of_its_own(
    server: Server, key: str, song: bytes, tmp_path: Path
) -> None:
    caller = Caller(server, key)
    jobs = [caller.upload(song, name=name)["id"] for name in ("Песня.wav", "歌.wav", "-o.wav", "..hidden.wav")]
    for job_id in jobs:
        caller.wait(job_id)
        authorization = f"Authorization: {caller.headers['Authorization']}"
        curl(tmp_path, "-f", "-OJ", "-H", authorization, f"{server.api}/download.php?id={job_id}")
    saved = [f"{jobs[0]}-2stems.zip", f"{jobs[1]}-2stems.zip", "hidden-2stems.zip", "o-2stems.zip"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(saved)


# Headers that ask for a part of a file, the answer's status, and which bytes it holds.
LONG = b"9" * 25
RANGES: dict[bytes, tuple[int, slice]] = {
    b"Range: bytes=-1": (206, slice(-1, None)),
    b"Range: bytes=-" + LONG: (206, slice(None)),
    b"Range: bytes=5-" + LONG: (206, slice(5, None)),
    b"Range: Bytes = 1 - 2 ": (206, slice(1, 3)),
    b"Range: bytes=" + LONG + b"-": (416, slice(0)),
    b"Range: bytes=-0": (200, slice(None)),
    b"Range: bytes=": (200, slice(None)),
    b"Range: bytes=2-1": (200, slice(None)),
    b"Range: bytes=--1": (200, slice(None)),
    b"Range: bytes=0x1-2": (200, slice(None)),
    b"Range: bytes=1_0-2_0": (200, slice(None)),
    b"Range: bytes=\xb2-3": (200, slice(None)),
    b"Range: bytes=" + b"9" * 5000 + b"-": (200, slice(None)),
    b"Range: bytes=-" + b"9" * 5000: (200, slice(None)),
    b"Range: bytes=0-,0-,0-": (200, slice(None)),
    b"Range: bytes=" + b",".join(b"%d-" % start for start in range(1000)): (200, slice(None)),
    b"Range: bytes=1-2\r\nRange: bytes=3-4": (200, slice(None)),
    b"Range: lines=1-2": (200, slice(None)),
    b"Range: bytes=1-2\r\nIf-Range: nonsense": (200, slice(None)),
    b"Range: bytes=1-2\r\nIf-Range: " + b"x" * 5000: (200, slice(None)),
    b"Range: bytes=1-2\r\nIf-Range: Mon, 01 Jan 1 00:00:00 -2400": (200, slice(None)),
    b"Range: bytes=1-2\r\nIf-Match: \"x\"": (206, slice(1, 3)),
    b"If-None-Match: *": (304, slice(0)),
    b"If-None-Match: " + b",".join([b'"a"'] * 1500): (200, slice(None)),
    b"If-None-Match: \"\xff": (200, slice(None)),
    b"If-Modified-Since: Fri, 01 Jan 99999 00:00:00 GMT": (200, slice(None)),
}


def test_ranges(server: Server, key: str, names: dict[str, str]) -> None:
    target = f"/api/v1/download.php?id={next(iter(names))}"
    (whole,) = ask(server, key, request(target))
    for sent, (status, part_of_it) in RANGES.items():
        (answer,) = ask(server, key, request(target, sent))
        assert answer.status == status, (sent, answer.status)
        if status != 416:
            assert answer.body == whole.body[part_of_it], sent
        else:
            assert answer.headers("Content-Range") == [f"bytes */{len(whole.body)}"]
            assert list(answer.json()) == ["error", "message"]
        assert len(answer.headers("X-Request-ID")) == 1


@pytest.mark.parametrize("parts", STRANGE.values(), ids=STRANGE.keys())
def test_strange_forms_that_php_would_take(server: Server, key: str, song: bytes, parts: list[bytes]) -> None:
    target = UPLOAD + b"?stems=9&cutoff=1&output=x&file=x"
    (answer,) = ask(server, key, upload(body(*parts, file_part(song), STEMS), target=target))
    check(answer)
    data = answer.json()["data"]
    assert data["stems"] == "2"
    cutoff = "16kHz" if parts == STRANGE["the form goes before the address"] else "full"
    columns = server.rows("SELECT stems, cutoff, output, original_name FROM jobs WHERE id = ?", data["id"])
    assert columns == [{"stems": 2, "cutoff": cutoff, "output": "wav", "original_name": "song.wav"}]


def test_lines_that_end_in_lf_within_the_form(server: Server, key: str) -> None:
    (answer,) = ask(server, key, upload(body(file_part(b"no audio"), STEMS).replace(b"\r\n", b"\n")))
    check(answer)
    assert answer.json()["error"] == "Invalid audio file"


def peak_bytes(server: Server) -> int:
    """Return the most memory that the worker ever held."""
    (worker,) = server.workers()
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())[1]) * 1024


# Forms of 24 MB and more whose file is no audio.
FLOODS = {
    "a field that nobody knows": [field("comment", b"2" * (24 * MB)), PLAIN, STEMS],
    "names of fields": [*[field(f"{number}{'n' * 256 * 1024}", "x") for number in range(MAX_PARTS - 2)], PLAIN, STEMS],
    "the headers of 98 parts": [*[part("x" + ";" * (256 * 1024))] * (MAX_PARTS - 2), PLAIN, STEMS],
    "a field that is known": [field("stems", b"2" * (24 * MB)), PLAIN],
    "the headers of a part": [part('name="x"', b"", b"X-A: " + b"a" * (24 * MB)), PLAIN, STEMS],
    "almost boundaries": [part('name="x"', f"--{BOUNDARY}-\r".encode() * MB), PLAIN, STEMS],
}


def test_memory_does_not_grow_with_what_is_sent(server: Server, key: str) -> None:
    ask(server, key, upload(body(PLAIN, STEMS)))
    before = peak_bytes(server)
    for name, parts in FLOODS.items():
        (answer,) = ask(server, key, upload(body(*parts)))
        check(answer)
        assert answer.status == 400, (name, answer)
        grown = peak_bytes(server) - before
        assert grown < 16 * MB, (name, grown)


class Page(HTMLParser):
    """Hold what a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def check(self) -> None:
        """Assert that it holds the project's own elements alone."""
        for tag, attributes in self.elements:
            assert tag not in ("i", "iframe", "object", "embed", "base"), tag
            assert not [name for name in attributes if name.startswith("on")], attributes
            for name in ("src", "href", "action"):
                assert "evil" not in (attributes.get(name) or "") and attributes.get(name) != "x", attributes
            assert tag != "script" or (attributes.get("src") or "").startswith("/static/"), attributes


def test_what_clients_sent_stands_on_pages_as_text(server: Server, names: dict[str, str]) -> None:
    session = enter(server.url, EMAIL)
    evil = "<img src=x onerror=alert(1)>\"'"
    named = session.post(f"{server.api}/keys.php", data={"name": evil}, timeout=60)
    assert named.status_code == 200, named.text

    def page(path: str, status: int = 200, **options: object) -> Page:
        answer = session.request(str(options.pop("method", "GET")), f"{server.url}{path}", timeout=60, **options)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        found = Page(answer.text)
        found.check()
        return found

    account = page("/account")
    assert EMAIL in account.text and evil in account.text
    library = page("/songs")
    assert all(name in library.text for name in names.values())
    for job_id, name in names.items():
        assert name in page(f"/songs/{job_id}").text
    sought = page("/songs", params={"q": evil})
    assert [attributes["value"] for _, attributes in sought.elements if attributes.get("name") == "q"] == [evil]
    page(f"/{evil}", 404)
    page(f"/songs/{evil}", 404)
    page("/login", params={"next": evil})
    page("/docs", headers={"Host": "127.0.0.1"})
    refused = page("/upload", 400, method="POST", files={"file": (f"{evil}.ogg", b"x")}, data={"stems": evil})
    assert "<img src=x onerror=alert(1)>" in refused.text
    states = session.get(f"{server.url}/songs/states", timeout=60)
    assert states.headers["Content-Type"] == "application/json"
    assert {job["id"]: job["name"] for job in states.json()["data"]}.items() >= names.items()
