"""Upload a file with requests, in chunks if asked to; print the status and the body that were read."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import requests

HEADERS = {"Authorization": f"Bearer {os.environ['EZSTEMS_KEY']}"}
URL = f"{os.environ['EZSTEMS_API']}/upload.php"
FILE = Path(os.environ["EZSTEMS_FILE"])
BOUNDARY = "a-boundary"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="stems"\r\n\r\n2\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{FILE.name}"\r\n\r\n'
)


def blocks() -> Iterator[bytes]:
    """Yield the body; requests sends what has no length in chunks."""
    yield HEAD.encode()
    with FILE.open("rb") as file:
        yield from iter(lambda: file.read(65_536), b"")
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


if os.environ.get("EZSTEMS_CHUNKED"):
    HEADERS["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    response = requests.post(URL, headers=HEADERS, data=blocks())
else:
    with FILE.open("rb") as f:
        response = requests.post(URL, headers=HEADERS, files={"file": f}, data={"stems": 2})
print(json.dumps({"status": response.status_code, "body": response.json()}))
