"""Let six generators make a client of `/api/openapi.json`, and separate a song with each against a real server.

`make clients` runs it; no test does: it takes the generators from PyPI and npm, needs Java 11 and Node 22.18, and works
in a folder of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import requests

from tests.support import audio_files
from tests.support.servers import Server

HERE = Path(__file__).parent
PYTHON = (
    "openapi-generator-cli==7.26.0 openapi-python-client==0.29.1 datamodel-code-generator==0.89.0 ruff "
    "requests httpx attrs pydantic python-dateutil urllib3"
)
NODE = "@hey-api/openapi-ts@0.99.0 orval@8.38.0 typescript@5.9.3 @types/node@24"
# openapi-python-client knows one kind of file: it is told that a ZIP is one.
OVERRIDES = {"content_type_overrides": {"application/zip": "application/octet-stream"}}
ORVAL = {
    "input": "api.json",
    "output": {
        "target": "orval/client.ts",
        "client": "fetch",
        "baseUrl": {"getBaseUrlFromSpecification": True},
        # It would send neither of an upload's two kinds of body.
        "override": {"contentType": {"exclude": ["application/x-www-form-urlencoded"]}},
    },
}
COMPILE = (
    "npx tsc --strict --skipLibCheck --target es2022 --lib es2022,dom,dom.iterable --module commonjs "
    "--moduleResolution node --types node --outDir compiled"
)
# What makes each client, and how its program is run.
CLIENTS = {
    "openapi_generator_python": (
        "venv/bin/openapi-generator-cli generate -i api.json -g python -o .",
        "venv/bin/python openapi_generator_python.py",
    ),
    "openapi_python_client": (
        "venv/bin/openapi-python-client generate --path api.json --output-path ezstems_client --meta none "
        "--config overrides.json --fail-on-warning",
        "venv/bin/python openapi_python_client.py",
    ),
    "datamodel_codegen": (
        "venv/bin/datamodel-codegen --input api.json --input-file-type openapi --output ezstems_models.py "
        "--output-model-type pydantic_v2.BaseModel",
        "venv/bin/python datamodel_codegen.py",
    ),
    "typescript_fetch": (
        "venv/bin/openapi-generator-cli generate -i api.json -g typescript-fetch -o typescript-fetch",
        f"{COMPILE} typescript_fetch.ts && node compiled/typescript_fetch.js",
    ),
    "hey_api": (
        "npx openapi-ts -i api.json -o hey-api",
        f"{COMPILE} hey_api.ts && node compiled/hey_api.js",
    ),
    "orval": (
        "npx orval --config orval.config.mjs",
        f"{COMPILE} orval.ts && node compiled/orval.js",
    ),
}


def run(command: str, folder: Path, **environ: str) -> None:
    """Run a command in the folder; end with what it printed where it fails."""
    path = f"{folder / 'venv/bin'}:{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | environ
    done = subprocess.run(command, shell=True, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def prepare(folder: Path, server: Server) -> None:
    """Put the generators, the description, the programs and a song into the folder."""
    run(f"{sys.executable} -m venv venv && venv/bin/pip install --quiet {PYTHON}", folder)
    run(f"npm init --yes && npm install --ignore-scripts --no-audit --no-fund {NODE}", folder)
    (folder / "api.json").write_bytes(requests.get(f"{server.url}/api/openapi.json", timeout=30).content)
    (folder / "overrides.json").write_text(json.dumps(OVERRIDES))
    (folder / "orval.config.mjs").write_text(f"export default {json.dumps({'ezstems': ORVAL})}")
    for program in (*HERE.glob("[!_]*.py"), *HERE.glob("*.ts")):
        shutil.copy(program, folder)
    wav = audio_files.write_wav(folder / "song.wav", audio_files.song(13 * audio_files.RATE_HZ))
    audio_files.convert(wav, "song.mp3")


def main() -> None:
    """Run them all; the first that fails ends it."""
    with tempfile.TemporaryDirectory(prefix="ezstems-clients-") as name:
        folder = Path(name)
        with Server(folder / "instance", "wsgi:app", model="builtin") as server:
            key = server.key()
            prepare(folder, server)
            for client, (make, use) in CLIENTS.items():
                run(make, folder)
                run(use, folder, EZSTEMS_URL=server.url, EZSTEMS_KEY=key)
                with zipfile.ZipFile(folder / "stems.zip") as archive:
                    assert archive.testzip() is None
                    assert archive.namelist() == ["vocals.flac", "accompaniment.flac"], archive.namelist()
                (folder / "stems.zip").unlink()
                print(f"{client}: uploaded, polled, downloaded", flush=True)


main()
