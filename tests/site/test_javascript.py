"""The website's scripts: each loads, and those that need no browser do what they should."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import ezstems

HERE = Path(__file__).resolve().parents[1]
STATIC = Path(ezstems.__file__).parent / "static"
OLDEST_NODE = 18  # the first with a test runner


def test_the_scripts(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", version)[1]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} has no test runner")
    # Browsers take a .js file for a module by how it is loaded, node by a package.json, which the site has no use for.
    shutil.copytree(STATIC, tmp_path / "ezstems" / "static")
    shutil.copytree(HERE / "javascript", tmp_path / "tests" / "javascript")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    tests = sorted(str(path) for path in (tmp_path / "tests" / "javascript").glob("*.test.mjs"))
    done = subprocess.run([node, "--test", *tests], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"^(?:#|ℹ) pass (\d+)$", done.stdout, re.MULTILINE)[1]) > len(tests)


def test_the_parts_that_scripts_look_for_are_on_the_pages() -> None:
    pages = "".join(template.read_text() for template in (STATIC.parent / "templates").rglob("*.html"))
    scripts = "".join(script.read_text() for script in STATIC.rglob("*.js"))
    names = set(re.findall(r"""part\("([\w-]+)"\)|data-part="?([\w-]+)""", scripts))
    assert len(names) > 20
    for name in {one or other for one, other in names}:
        assert f'data-part="{name}"' in pages, name


def test_no_page_holds_script_or_style() -> None:
    for template in sorted((STATIC.parent / "templates").rglob("*.html")):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), template.name
        for script in re.findall(r"<script([^>]*)>", text):
            assert re.fullmatch(r""" type="module" src="{{ url_for\('static', filename='\w+\.js'\) }}\"""", script)
