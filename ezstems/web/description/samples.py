"""Programs that use the API from upload to download: to copy, to give a key and a file, and to run."""

from typing import NamedTuple

BASE_URL = "BASE_URL"
KEY = "YOUR_API_KEY"
FILE = "song.mp3"


class Sample(NamedTuple):
    """Name a program's language, how to run it, what that takes, and its text."""

    language: str
    run: str
    needs: str
    text: str


# Each waits longer from one look at the status to the next: many can run at once within the usual 100 calls a minute.
CURL = """\
KEY='YOUR_API_KEY'
FILE='song.mp3'
API='BASE_URL/api/v1'

call() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }

JOB=$(call -F "file=@\\"$FILE\\"" -F stems=4 "$API/upload.php")
echo "$JOB"
ID=$(echo "$JOB" | sed -n 's/.*"id": *"\\([^"]*\\)".*/\\1/p')

WAIT=1
while echo "$JOB" | grep -Eq '"status": *"(queued|processing)"'; do
    sleep $WAIT
    WAIT=$((WAIT < 10 ? WAIT + 1 : 10))
    JOB=$(call "$API/status.php?id=$ID")
    echo "$JOB"
done

echo "$JOB" | grep -q '"status": *"completed"' && call -f -o stems.zip "$API/download.php?id=$ID"
"""

PYTHON = '''\
import sys
import time

import requests

KEY = "YOUR_API_KEY"
FILE = "song.mp3"
API = "BASE_URL/api/v1"

session = requests.Session()
session.headers["Authorization"] = f"Bearer {KEY}"


def checked(response):
    """Return the answer to a call, or end with what the server says is wrong."""
    if not response.ok:
        sys.exit("{error}: {message}".format(**response.json()))
    return response


with open(FILE, "rb") as song:
    form = {"stems": 4}
    job = checked(session.post(f"{API}/upload.php", files={"file": song}, data=form)).json()["data"]

wait_seconds = 1
while job["status"] in ("queued", "processing"):
    time.sleep(wait_seconds)
    wait_seconds = min(wait_seconds + 1, 10)
    job = checked(session.get(f"{API}/status.php", params={"id": job["id"]})).json()["data"]
    print(job)

with checked(session.get(f"{API}/download.php", params={"id": job["id"]}, stream=True)) as response:
    with open("stems.zip", "wb") as archive:
        for block in response.iter_content(65536):
            archive.write(block)
'''

NODE = """\
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'BASE_URL/api/v1';

// Answer a call, or end with what the server says is wrong.
async function call(path, options) {
  const headers = { Authorization: `Bearer ${KEY}` };
  const response = await fetch(`${API}/${path}`, { headers, ...options });
  if (!response.ok) {
    const { error, message } = await response.json();
    console.error(`${error}: ${message}`);
    process.exit(1);
  }
  return response;
}

const form = new FormData();
form.append('file', new Blob([await readFile(FILE)]), basename(FILE));
form.append('stems', '4');
let job = (await (await call('upload.php', { method: 'POST', body: form })).json()).data;

let waitMs = 1000;
while (['queued', 'processing'].includes(job.status)) {
  await sleep(waitMs);
  waitMs = Math.min(waitMs + 1000, 10000);
  job = (await (await call(`status.php?id=${job.id}`)).json()).data;
  console.log(job);
}

await writeFile('stems.zip', (await call(`download.php?id=${job.id}`)).body);
"""

PHP = """\
<?php
const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'BASE_URL/api/v1';

// Answer a call with its body, or end with what the server says is wrong.
function call(string $path, array $options = [])
{
    $curl = curl_init(API . '/' . $path);
    curl_setopt_array($curl, [
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . KEY],
        CURLOPT_RETURNTRANSFER => true,
    ] + $options);
    $body = curl_exec($curl);
    if ($body === false || curl_getinfo($curl, CURLINFO_RESPONSE_CODE) !== 200) {
        fwrite(STDERR, (is_string($body) ? $body : curl_error($curl)) . PHP_EOL);
        exit(1);
    }
    return $body;
}

$form = ['file' => new CURLFile(FILE), 'stems' => '4'];
$job = json_decode(call('upload.php', [CURLOPT_POSTFIELDS => $form]))->data;

$wait = 1;
while (in_array($job->status, ['queued', 'processing'])) {
    sleep($wait);
    $wait = min($wait + 1, 10);
    $job = json_decode(call('status.php?id=' . $job->id))->data;
    echo json_encode($job), PHP_EOL;
}

if ($job->status === 'failed') {
    exit(1);
}
call('download.php?id=' . $job->id, [CURLOPT_FILE => fopen('stems.zip', 'wb')]);
"""


def samples(base_url: str) -> list[Sample]:
    """Return the programs for the server at an address."""
    programs = (
        Sample("curl", "bash stems.sh", "bash and curl", CURL),
        Sample("Python", "python stems.py", "Python 3 and requests", PYTHON),
        Sample("Node", "node stems.mjs", "Node 18 or newer", NODE),
        Sample("PHP", "php stems.php", "PHP 8 and its curl extension", PHP),
    )
    return [program._replace(text=program.text.replace(BASE_URL, base_url)) for program in programs]
