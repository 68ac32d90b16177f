"""The container's files: they name what is there, and give away nothing. `container.py` builds and runs it."""

import ast
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ezstems
from ezstems import cluster, config
from ezstems.cli import COMMANDS
from ezstems.errors import ConfigurationError
from tests.support.backends import ObjectStore, Postgres, Redis
from tests.support.clusters import Cluster
from tests.support.servers import ROOT, Server

DEPLOY = Path(ezstems.__file__).parent / "deploy"
# Joined lines, without comments.
STEPS = [
    re.sub(r"\\\n\s*", "", step)
    for step in re.findall(r"^(?!#)(?:.*\\\n)*.+", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CLUSTER = {name: service for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]}
# Debian 13's.
PYTHON = {"python_version": "3.13", "python_full_version": "3.13.5"}
# Spleeter's model code alone needs these, and that runs in TensorFlow.
LEFT_OUT = {"tensorflow", "tensorflow-cpu", "tf-keras", "pandas"}


def arguments(instruction: str) -> list[str]:
    """Return what the Containerfile says after an instruction, each time."""
    return [step.partition(" ")[2].strip() for step in STEPS if step.startswith(f"{instruction} ")]


def pinned(lock: str) -> set[str]:
    """Return the packages that pip takes from a lock in the image."""
    lines = (Requirement(line) for line in re.findall(r"^([a-z].*?) \\$", lock, re.MULTILINE))
    return {line.name for line in lines if line.marker is None or line.marker.evaluate(PYTHON)}


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """Return the one box: what runs without a profile."""
    (service,) = [service for service in SERVICES.values() if "profiles" not in service]
    return service


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    return dict(word.split("=", 1) for line in arguments("ENV") for word in line.split())


def test_it_runs_as_nobody_in_particular_who_may_write_to_the_instance_alone(
    service: dict[str, Any], environ: dict[str, str]
) -> None:
    (user,), (volume,) = arguments("USER"), arguments("VOLUME")
    assert re.fullmatch(r"([1-9]\d{4}):\1", user), user
    assert environ["EZSTEMS_INSTANCE"] == volume
    assert any(f"--uid {user.partition(':')[0]} " in step and f" 700 {volume}" in step for step in arguments("RUN"))
    assert service["read_only"] is True and [place.partition(":")[0] for place in service["tmpfs"]] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert [place.partition(":")[2] for place in service["volumes"]] == [volume]
    assert "user" not in service and "privileged" not in service and "cap_add" not in service


def test_it_is_reached_where_it_listens_from_this_machine_alone(
    service: dict[str, Any], environ: dict[str, str]
) -> None:
    host, _, port = environ["EZSTEMS_BIND"].partition(":")
    assert (host, arguments("EXPOSE")) == ("0.0.0.0", [port])
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_a_stop_has_the_time_that_the_server_takes(service: dict[str, Any]) -> None:
    assigned = {
        node.targets[0].id: node.value.value
        for node in ast.parse((DEPLOY.parent / "gunicorn_conf.py").read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert int(service["stop_grace_period"].removesuffix("s")) >= assigned["graceful_timeout"] + 5


def test_every_setting_it_names_is_one(service: dict[str, Any], environ: dict[str, str]) -> None:
    known = {config.PREFIX + setting.name for setting in (*config.SETTINGS, config.INSTANCE)}
    named = {*environ, *service.get("environment", {})}
    assert {name for name in named if name.startswith(config.PREFIX)} <= known
    values = {name: str(value) for name, value in (environ | service["environment"]).items()}
    assert config.load(Path("/instance"), values)["EZSTEMS_PROXIES"] == 0


def test_what_it_starts_is_there() -> None:
    (start,) = arguments("CMD")
    command, name = json.loads(start)
    assert command == "ezstems" and name in COMMANDS


def test_what_it_copies_is_in_the_repository(service: dict[str, Any]) -> None:
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert ROOT / service["build"]["dockerfile"] == DEPLOY / "Containerfile"
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    for copied in arguments("COPY"):
        if not copied.startswith("--from="):
            for source in copied.split()[:-1]:
                tracked = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True)
                assert tracked.stdout, source


def test_no_file_of_an_operator_comes_into_a_layer() -> None:
    """The last rule that matches a path decides, and a folder's rule is its content's."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    def sent(path: str) -> bool:
        parents = [str(PurePath(path)), *map(str, PurePath(path).parents)]
        matching = [rule for rule in rules if any(fnmatch(one, rule.lstrip("!")) for one in parents if one != ".")]
        return matching[-1].startswith("!")

    copied = [word for line in arguments("COPY") if not line.startswith("--from=") for word in line.split()[:-1]]
    assert {"ezstems", "requirements.txt", "ezstems/deploy/cluster.txt"} <= set(copied)
    assert all(sent(name) for name in (*copied, "ezstems/cli.py", "ezstems/builtin/MODEL.md"))
    for name in ("ezstems/deploy/cluster.env", "ezstems/deploy/mine.yaml", "instance/secret_key", ".git/config"):
        assert not sent(name), name


def test_the_health_check_tells_a_server_that_takes_work(service: dict[str, Any], instance: Path) -> None:
    kind, *check = service["healthcheck"]["test"]
    (told,) = arguments("HEALTHCHECK")
    assert kind == "CMD" and json.loads(told.partition("CMD ")[2]) == check
    assert check[0] == "python"

    def healthy(server: Server) -> bool:
        code = check[-1].replace(":8000", f":{server.port}")
        assert code != check[-1]
        return subprocess.run([sys.executable, *check[1:-1], code], capture_output=True, timeout=60).returncode == 0

    with Server(instance) as server:
        assert healthy(server)
        (instance / "ezstems.sqlite3").rename(instance / "moved")
        assert not healthy(server)
    assert not healthy(server)


def test_nothing_that_it_installs_needs_what_it_leaves_out() -> None:
    (install,) = [step for step in arguments("RUN") if step.startswith("awk ")]
    program = re.search(r"^awk '([^']+)' requirements.txt > kept.txt", install)[1]
    done = subprocess.run(["awk", program, "requirements.txt"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"-r kept.txt -r (\S+)$", install)[1] == "cluster.txt"
    locks = ((ROOT / "requirements.txt").read_text(), done.stdout, (DEPLOY / "cluster.txt").read_text())
    locked, kept, cluster = (pinned(lock) for lock in locks)
    assert {"celery", "redis", "psycopg", "obstore"} <= cluster
    locked, kept = locked | cluster, kept | cluster
    assert locked & {"tensorflow", "tensorflow-cpu"} and "keras" in locked
    assert {"openvino", "spleeter", "flask", "gunicorn", "numpy", "scipy", "imageio-ffmpeg"} <= kept
    assert not kept & {"tensorflow", "tensorflow-cpu", "tf-keras", "keras"}
    for name in kept:
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:  # another system's, or another Python's
            continue
        for one in needed:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                other = canonicalize_name(one.name)
                assert other in kept or other not in locked or other in LEFT_OUT, f"{name} needs {other}"


def test_a_cluster_is_two_boxes_of_a_kind_behind_the_shipped_site() -> None:
    assert set(SERVICES) - set(CLUSTER) == {"server"}
    assert set(CLUSTER) == {"web", "worker", "nginx", "postgres", "redis", "store", "bucket"}
    for name in ("web", "worker"):
        assert CLUSTER[name]["deploy"] == {"replicas": 2} and "ports" not in CLUSTER[name]
        assert set(CLUSTER[name]["depends_on"]) == {"postgres", "redis", "bucket"}
    # One address is reached, from this machine alone, and by it everything that the shipped site lets through.
    assert [service["ports"] for service in CLUSTER.values() if "ports" in service] == [["127.0.0.1:8080:80"]]
    (shell,) = [word for word in CLUSTER["nginx"]["command"] if "sed" in word]
    shipped, ours = re.search(r"sed 's/([^/]+)/([^/]+)/' /shipped.conf", shell).groups()
    assert f"server {shipped};" in (DEPLOY / "nginx.conf").read_text() and ours == "web:8000"
    assert CLUSTER["nginx"]["volumes"] == ["./nginx.conf:/shipped.conf:ro"]
    assert CLUSTER["web"]["environment"]["EZSTEMS_PROXIES"] == 1


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_box_of_a_cluster_is_as_closed_as_the_one_box(name: str, service: dict[str, Any]) -> None:
    box = CLUSTER[name]
    same = ("image", "read_only", "cap_drop", "security_opt", "ulimits", "pids_limit", "stop_grace_period", "tmpfs")
    for rule in same:
        assert box[rule] == service[rule], rule
    assert box["volumes"] == arguments("VOLUME")  # of each container its own


def test_what_a_cluster_starts_is_what_the_tests_start(
    postgres: Postgres, redis: Redis, object_store: ObjectStore, tmp_path: Path
) -> None:
    program, *_ = CLUSTER["worker"]["command"]
    assert {name: CLUSTER[name]["command"] for name in ("web", "worker")} == {
        "web": [program, "serve"], "worker": [program, "worker"],
    }  # fmt: skip
    assert program == "ezstems" and {"serve", "worker"} <= set(COMMANDS)
    for name, backend in (("postgres", postgres), ("redis", redis)):
        program, *words = CLUSTER[name]["command"]
        assert Path(backend.arguments()[0]).name == program
        assert set(words) <= {*backend.arguments()}, name
    # What the database's image starts while it makes the database listens at a socket alone.
    assert CLUSTER["postgres"]["healthcheck"]["test"][1:3] == ["pg_isready", "-h"]
    # The store's image asks for the contrary, by a word before ours.
    assert "-master.volumePreallocate=false" in CLUSTER["store"]["command"]
    tried = {word.partition("=")[0] for word in object_store.arguments()}
    assert {word.partition("=")[0] for word in CLUSTER["store"]["command"]} <= tried


def test_a_clusters_store_has_a_bucket_before_a_box_starts(object_store: ObjectStore) -> None:
    """A box asks for the bucket before it puts anything; SeaweedFS makes one for an object alone."""
    bucket, name = CLUSTER["bucket"], CLUSTER["web"]["environment"]["EZSTEMS_STORAGE_URL"].removeprefix("s3://")
    assert CLUSTER["web"]["depends_on"]["bucket"] == {"condition": "service_completed_successfully"}
    assert bucket["depends_on"] == {"store": {"condition": "service_healthy"}} and bucket["restart"] == "no"
    *shell, script = bucket["entrypoint"]
    store = f"{object_store.address}:{object_store.ports[1]}.{object_store.ports[4]}"
    other = f"test-{secrets.token_hex(6)}"
    assert "-master=store:9333 " in script and f"create -name {name}'" in script
    script = script.replace("store:9333", store).replace(name, other)
    path = f"{Path(object_store.arguments()[0]).parent}:{os.environ['PATH']}"
    # The second time it is there already.
    for said in (f"created bucket {other}", f"bucket {other} already exists"):
        command, environ = [*shell, script], os.environ | {"PATH": path}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and said in done.stderr, done.stderr
    command = [*shell, script.replace(other, "No_Bucket")]
    assert subprocess.run(command, env=environ, capture_output=True, timeout=60).returncode != 0


def test_every_setting_of_a_cluster_makes_a_whole_one() -> None:
    example = (DEPLOY / "cluster.env.example").read_text()
    secret = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    for name in ("web", "worker"):
        assert CLUSTER[name]["env_file"] == [{"path": "cluster.env", "required": False}]
        values = {name: str(value) for name, value in (secret | CLUSTER[name]["environment"]).items()}
        known = {config.PREFIX + setting.name for setting in config.SETTINGS}
        assert {name for name in values if name.startswith(config.PREFIX)} <= known
        cluster.require_whole(config.load(Path("/instance"), values))
        # Without the file nothing of it is this box's own: it is refused.
        with pytest.raises(ConfigurationError, match="EZSTEMS_BROKER_URL needs EZSTEMS_DATABASE_URL"):
            cluster.require_whole(config.load(Path("/instance"), {
                name: str(value) for name, value in CLUSTER[name]["environment"].items()
            }))  # fmt: skip
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD"} <= set(secret)
    assert not any(secret[name] for name in secret if "PASSWORD" in name or "SECRET" in name)


def test_a_workers_health_check_asks_celery(
    postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    """It names the first process of its container; outside, a worker's number is another."""
    kind, check = CLUSTER["worker"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL" and "ezstems-1@$$HOSTNAME" in check and not {"postgres", "redis"} & set(check.split())
    with Cluster(tmp_path, postgres, redis.new_url()) as running:
        worker = running.worker()
        worker.start()

        def answers() -> bool:
            command = check.replace("ezstems-1@", f"ezstems-{worker.process.pid}@").replace("$$", "$")
            path = f"{Path(sys.executable).parent}:{worker.environ['PATH']}"
            environ = worker.environ | {"HOSTNAME": socket.gethostname(), "PATH": path}
            return subprocess.run(["sh", "-c", command], env=environ, capture_output=True, timeout=60).returncode == 0

        deadline = time.monotonic() + 60
        while not answers():  # it waits for a second, and is asked anew before a container counts as unhealthy
            assert time.monotonic() < deadline
        worker.kill()
        assert not answers()
