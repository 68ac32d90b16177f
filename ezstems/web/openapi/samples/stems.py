import sys
import time
from pathlib import Path

import requests

KEY = "YOUR_API_KEY"
FILE = "song.mp3"
API = "http://127.0.0.1:8000/api/v1"

session = requests.Session()
session.headers["Authorization"] = f"Bearer {KEY}"


def checked(response: requests.Response) -> requests.Response:
    """Return the answer to a call, or end with what the server says is wrong."""
    if not response.ok:
        sys.exit("{error}: {message}".format(**response.json()))
    return response


with Path(FILE).open("rb") as song:
    form = {"stems": 4}
    job = checked(session.post(f"{API}/upload.php", files={"file": song}, data=form)).json()["data"]

# The server answers when the job ends, or after 50 seconds; or at once, and says when to ask again.
waiting = {"Prefer": "wait=50"}
pause_seconds, asked = 0, 0
while job["status"] in ("queued", "processing"):
    time.sleep(pause_seconds)
    answer = checked(session.get(f"{API}/status.php", params={"id": job["id"]}, headers=waiting))
    job = answer.json()["data"]
    print(job)
    asked += 1
    has_waited = "Preference-Applied" in answer.headers
    pause_seconds = 0 if has_waited else int(answer.headers.get("Retry-After", min(asked, 10)))

with checked(session.get(f"{API}/download.php", params={"id": job["id"]}, stream=True)) as response:
    blocks = response.iter_content(65536)
    with Path("stems.zip").open("wb") as archive:
        archive.writelines(blocks)
