"""The recipes of the page on clients: each can be read, names what there is, and what a shell can run of it runs."""

import ast
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ezstems.web.site.manual import DOCS
from tests.support.reference_api import KEY, STEMS, serving

PAGE = (DOCS / "clients.md").read_text()
GENERATED = Path(__file__).parent / "generated" / "__main__.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def program() -> str:
    """Return the program of the shell's recipe."""
    (found,) = re.findall(r"<<'END'\n(.*?)^END$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def workflow() -> dict[Any, Any]:
    (block,) = blocks("yaml")
    found: dict[Any, Any] = yaml.safe_load(block)
    return found


def test_the_workflow_has_the_form_of_github_actions() -> None:
    found = workflow()
    assert set(found) == {"name", True, "jobs"}  # YAML 1.1 reads `on` so
    assert set(found[True]) == {"push"}
    (job,) = found["jobs"].values()
    assert set(job) == {"runs-on", "timeout-minutes", "env", "steps"}
    assert all(isinstance(value, str) for value in job["env"].values())
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step) and set(step) <= {"name", "uses", "with", "run"}
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/any@v1"))


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "sha256sum"))), reason="curl or sha256sum is not installed")
@pytest.mark.parametrize("beyond", [False, True], ids=["original", "beyond"])
def test_the_workflows_script_runs(tmp_path: Path, beyond: bool) -> None:
    (script,) = [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]
    (tmp_path / "stems.sh").write_text(program())
    (tmp_path / "songs").mkdir()
    names = ("a song.mp3", "b;$(c),d.wav")
    for name in names:
        (tmp_path / "songs" / name).write_bytes(name.encode())
    with serving(beyond=beyond) as server:
        environ = os.environ | {"EZSTEMS_SERVER": server.url, "EZSTEMS_KEY": KEY, "no_proxy": "127.0.0.1"}
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [call.file[0] for call in server.calls if call.file] == [*names]
        server.endings = [{"status": "failed", "error": "No luck."}]
        (tmp_path / "songs" / "c.mp3").touch()
        command = ["bash", "stems.sh", "songs/c.mp3", "2"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "No luck." in done.stderr
    for name in names:
        with zipfile.ZipFile(tmp_path / "stems" / f"{name}.zip") as archive:
            assert archive.namelist() == [*STEMS]


@pytest.mark.parametrize("text", blocks("json")[:-1], ids=lambda text: json.loads(text)["name"])
def test_a_workflow_of_n8n_is_connected(text: str) -> None:
    found = json.loads(text)
    assert set(found) == {"name", "nodes", "connections"}
    nodes = {node["name"]: node for node in found["nodes"]}
    assert len(nodes) == len(found["nodes"])
    for node in nodes.values():
        assert set(node) == {"name", "type", "typeVersion", "position", "parameters"}
        assert re.fullmatch(r"n8n-nodes-base\.[a-zA-Z]+", node["type"]) and len(node["position"]) == 2
        url = node["parameters"].get("url", "https://stems.example.com/api/v1/keys.php")
        assert re.fullmatch(r"https://stems\.example\.com/api/v1/(upload|download|keys)\.php", url)
    reached = {to["node"] for out in found["connections"].values() for line in out["main"] for to in line}
    assert {*found["connections"], *reached} == {*nodes}
    assert [*nodes][1:] == [name for name in nodes if name in reached]  # all but the first are led to


def test_the_generators_commands_are_those_that_are_tried() -> None:
    tried = {node.value for node in ast.walk(ast.parse(GENERATED.read_text())) if isinstance(node, ast.Constant)}
    tried = {text.removeprefix("venv/bin/") for text in tried if isinstance(text, str)}
    listed = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", PAGE.partition("## A generated client")[2], re.MULTILINE)
    assert len(listed) == 6 and {*listed} <= tried
    (settings,) = re.findall(r"^OVERRIDES = (.*)$", GENERATED.read_text(), re.MULTILINE)
    assert json.loads(blocks("json")[-1]) == ast.literal_eval(settings)
