"""A cluster of hosts that have accidents round after round, and what must hold after each."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import requests

from tests.soak import checks
from tests.soak.accidents import ACCIDENTS, CLEAN
from tests.soak.box import KEPT, Tally
from tests.soak.hosts import Host, Network
from tests.soak.slips import OUTAGE
from tests.soak.songs import Song
from tests.soak.traffic import Traffic, Upload
from tests.support.backends import ObjectStore, Postgres, RabbitMQ, Redis
from tests.support.callers import Caller
from tests.support.clusters import WorkerBox
from tests.support.servers import Server

WEBS, WORKERS = ("web1", "web2"), ("worker1", "worker2")
DATABASE, BROKER, STORE = "database", "broker", "store"
NAMES = (*WEBS, *WORKERS, DATABASE, BROKER, STORE)
SEPARATIONS = 2
# In life: when a silent process is taken for dead, how often it speaks, how long an outage lasts here, and how soon a
# dead box's job must run elsewhere.
DEAD_SECONDS, BEAT_SECONDS, OUTAGE_SECONDS, ELSEWHERE_SECONDS = 60.0, 10.0, 30.0, 90.0
# What takes as long however soon a process is taken for dead.
WORK_SECONDS = 30.0
SETTLE_SECONDS = 180.0
SOON_SECONDS = 60.0
UPLOADS = 8


class AnyCaller(Caller):
    """Call any of several web boxes, another one each time."""

    def __init__(self, servers: list[Server], key: str) -> None:
        self._servers = servers
        self._random = Random(0)
        super().__init__(servers[0], key)

    @property
    def server(self) -> Server:
        """Return one of them."""
        return self._random.choice(self._servers)

    @server.setter
    def server(self, _server: Server) -> None: ...


class ClusterTraffic(Traffic):
    """Call a cluster, by its API alone."""

    def __init__(self, fleet: "Fleet", seed: str) -> None:
        super().__init__(fleet.caller, requests.Session(), fleet.songs, fleet.finished, seed, UPLOADS)
        self.wholes = fleet.wholes

    def _whole(self, upload: Upload) -> bytes:
        return self.wholes[upload.job_id]

    def _delete_job(self, upload: Upload) -> None:
        url = f"{self._caller.server.api}/jobs.php?id={upload.job_id}"
        answer = requests.delete(url, headers=self._caller.headers, timeout=60)
        if answer.status_code not in (200, 404) and not self._is_refused(answer):
            self.faults.append(f"deletion of {upload.job_id}: {answer.status_code} {answer.text}")


class Fleet:
    """Hold the hosts, and what runs on each; `scale` shortens the seconds of life."""

    def __init__(self, folder: Path, songs: list[Song], *, scale: float = 1.0, rabbitmq: bool = False) -> None:
        self.folder = folder
        self.songs = songs
        self.scale = scale
        self.dead_seconds = DEAD_SECONDS * scale
        self.outage_seconds = OUTAGE_SECONDS * scale
        self.finished: list[Upload] = []
        self.wholes: dict[str | None, bytes] = {}
        self.tally = Tally()
        self.traffic: ClusterTraffic | None = None
        self._orphans: set[str] = set()
        self._stack = ExitStack()
        self._broker_type = RabbitMQ if rabbitmq else Redis

    def __enter__(self) -> "Fleet":
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.network = self._stack.enter_context(Network(*NAMES))
        self.hosts = self.network.hosts
        self.postgres = Postgres(self.hosts[DATABASE].address, durable=True)
        self.broker = self._broker_type(self.hosts[BROKER].address)
        self.store = ObjectStore(self.hosts[STORE].address)
        for name, backend in self.backends.items():
            self._stack.callback(backend.close)
            self.start(name)
        self.settings: dict[str, object] = {
            "database_url": self.postgres.url,
            "broker_url": self.broker.url,
            "storage_url": self.store.new_url(),
            "account_jobs": 100_000,
            "FAST_BEAT": BEAT_SECONDS * self.scale,
            "FAST_DEAD": self.dead_seconds,
            **self.store.credentials,
        }
        self.boxes: dict[str, Server] = {name: self._box(name) for name in (*WEBS, *WORKERS)}
        self.webs = [self.boxes[name] for name in WEBS]
        self.workers = [self.boxes[name] for name in WORKERS]
        for name, box in self.boxes.items():
            self._stack.callback(lambda box=box: box.process and box.kill())
            self.start(name)
        self.objects = self.store.client(str(self.settings["storage_url"]).rpartition("/")[2])
        self.caller = AnyCaller(self.webs, self.webs[0].key())

    def _box(self, name: str) -> Server:
        temporary = self.folder / f"{name}-tmp"
        temporary.mkdir(parents=True)
        settings = {**self.settings, "TMPDIR": temporary}
        if name in WEBS:
            box = Server(self.folder / name, "tests.soak.app:app", workers=2, **settings)
        else:
            box = WorkerBox(self.folder / name, name, separations=SEPARATIONS, **settings)
            box.arguments[-1] = "tests.soak.worker"
        address = f"{self.hosts[name].address}:{box.port}"
        box.url, box.api = f"http://{address}", f"http://{address}/api/v1"
        box.environ["EZSTEMS_BIND"] = address
        return box

    @property
    def backends(self) -> dict[str, Postgres | Redis | RabbitMQ | ObjectStore]:
        """Return what the boxes share, by its host."""
        return {DATABASE: self.postgres, BROKER: self.broker, STORE: self.store}

    def start(self, name: str) -> None:
        """Start what runs on a host, there."""
        with self.hosts[name].inside():
            (self.backends.get(name) or self.boxes[name]).start()

    def play(self, kind: str, seed: str) -> list[str]:
        """Play a round: traffic, an accident in its midst, and every check; return what didn't hold."""
        random, tally = Random(seed), self.tally
        logged = {name: box.log.stat().st_size for name, box in self.boxes.items()}
        with ClusterTraffic(self, seed) as traffic:
            self.traffic = traffic
            deadline = time.monotonic() + random.uniform(0.3, 1.5)
            while time.monotonic() < deadline or not any(upload.job_id for upload in traffic.uploads):
                assert time.monotonic() < deadline + SOON_SECONDS, f"nothing was accepted: {traffic.uploads}"
                time.sleep(0.01)
            traffic.outage = True
            faults = ACCIDENTS[kind](self, random)
            faults += [f"{name} ended by itself" for name, box in self.boxes.items() if not box.running]
            faults += self._recovered()
            for box in self.workers:
                box.hold()
        faults += checks.places(self.caller)
        for box in self.workers:
            box.release()
        faults += self._settled()
        faults += self._recovered()
        log = "".join(box.log.read_bytes()[logged[name] :].decode() for name, box in self.boxes.items())
        faults += self._outcomes(traffic, log)
        faults += traffic.faults
        faults += self._stored(kind) + self._scratch()
        self._forget(traffic)
        tally.counts["rounds"] += 1
        tally.counts[kind] += 1
        tally.counts["ranges"] += traffic.ranges
        tally.faults += [f"{seed}: {kind}: {fault}" for fault in faults]
        return faults

    def wait(self, is_so: Callable[[], object], what: str, seconds: float = SOON_SECONDS) -> list[str]:
        """Wait until something is so; return what didn't become so."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                return [f"not within {seconds:.0f} s: {what}"]
            time.sleep(0.02)
        return []

    def health(self, web: Server) -> dict[str, Any]:
        """Return what a web box says of its health; nothing where it gives no answer."""
        try:
            return dict(requests.get(f"{web.url}/health", timeout=30).json())
        except requests.RequestException:
            return {}

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Read rows of the database, which the client reaches whatever is cut."""
        return self.webs[0].rows(query, *values)

    def owners(self, box: Server) -> list[str]:
        """Return the owners that a separation box's processes are."""
        return [row["id"] for row in self.rows("SELECT id FROM workers WHERE pid = ANY(?)", box.workers())]

    def running(self, owners: list[str]) -> list[dict[str, Any]]:
        """Return the jobs that some owners run."""
        return self.rows("SELECT * FROM jobs WHERE status = 'processing' AND owner = ANY(?)", owners)

    def busy(self, random: Random) -> Server:
        """Return a separation box in the midst of a job; send more where all that was sent has ended."""
        assert self.traffic is not None
        for tried in range(1, 6000):
            found = [box for box in self.workers if self.running(self.owners(box))]
            if found:
                return random.choice(found)
            if tried % 20 == 0:
                self.traffic.most += 1
            time.sleep(0.01)
        raise AssertionError("no job ever ran")

    def elsewhere(self, jobs: list[dict[str, Any]], began_seconds: float) -> list[str]:
        """Wait until each of a dead box's jobs runs elsewhere, or has ended."""
        left = {job["id"]: job["owner"] for job in jobs}

        def are_all() -> bool:
            for row in self.rows("SELECT id, owner, status FROM jobs WHERE id = ANY(?)", list(left)):
                if row["status"] not in ("queued", "processing") or row["owner"] not in (None, left[row["id"]]):
                    del left[row["id"]]
            return not left

        limit_seconds = min(ELSEWHERE_SECONDS, self.dead_seconds + WORK_SECONDS)
        found = self.wait(are_all, f"{left} elsewhere", limit_seconds)
        if jobs and not found:
            seconds = time.monotonic() - began_seconds
            self.tally.slowest_elsewhere_seconds = max(self.tally.slowest_elsewhere_seconds, seconds)
        return found

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Kill what the boxes share on a host, and start it in the end."""
        self.backends[name].kill()
        try:
            yield
        finally:
            self.start(name)

    def pair(self, random: Random) -> tuple[Host, Host]:
        """Return two hosts that talk to each other."""
        shared = [self.hosts[name] for name in (DATABASE, BROKER, STORE)]
        pairs = [(self.hosts[name], other) for name in (*WEBS, *WORKERS) for other in shared]
        return random.choice(pairs + [(self.network.client, self.hosts[name]) for name in WEBS])

    def _recovered(self) -> list[str]:
        """Wait until every web box says that all is well, and who lives."""
        told: dict[str, dict[str, Any]] = {}
        workers = len(WORKERS) * SEPARATIONS

        def is_well() -> bool:
            for web in self.webs:
                told[web.url] = state = self.health(web)
                if state.get("status") != "ok" or state.get("problems") or state["workers"] != workers:
                    return False
            return True

        found = self.wait(is_well, "/health says that all is well", SOON_SECONDS + self.dead_seconds)
        return [f"{found[0]}: {told}"] if found else []

    def _settled(self) -> list[str]:
        unfinished = "SELECT id, status, owner FROM jobs WHERE status IN ('queued', 'processing')"
        left: list[dict[str, Any]] = []

        def has() -> bool:
            left[:] = self.rows(unfinished)
            return not left

        return [f"stuck: {row}" for row in left] if self.wait(has, "an end", SETTLE_SECONDS) else []

    def _outcomes(self, traffic: ClusterTraffic, log: str) -> list[str]:
        for upload in traffic.uploads:
            # Whether a commit counts whose answer was lost, nobody knows: it was refused as what may be tried again.
            if upload.refused and self.rows("SELECT 1 FROM jobs WHERE original_name = ?", upload.name):
                upload.refused = None
                self.tally.counts["refused, yet there"] += 1
        # Who was taken for dead may end as well; its row is another's.
        counted = "\n".join(line for line in log.splitlines() if "which its row doesn't say" not in line)
        caller, counts = self.caller, self.tally.counts
        return checks.outcomes(caller, traffic.uploads, OUTAGE, counted, counts, self.folder)

    def _stored(self, kind: str) -> list[str]:
        """Return which objects a row names and aren't there, or are there for no row where nothing explains that."""
        missing: set[str] = set()
        extra: set[str] = set()

        def is_right() -> bool:
            query = "SELECT id, owner, status, upload_key, keeps_upload FROM jobs WHERE expired_at IS NULL"
            needed = set()
            for row in self.rows(query):
                if row["status"] != "completed" or row["keeps_upload"]:
                    needed.add(f"uploads/{row['upload_key']}")
                if row["status"] == "completed":
                    needed |= {f"results/{row['id']}.{row['owner']}.{end}" for end in ("zip", "peaks")}
            listed = {each["path"] for objects in self.objects.list() for each in objects}
            there = {path for path in listed if path.startswith(("uploads/", "results/"))}
            missing.clear()
            missing.update(needed - there)
            extra.clear()
            extra.update(there - needed - self._orphans)
            return not missing and not extra

        self.wait(is_right, "the store's objects", 20 if kind in CLEAN else 3)
        found = [f"{path} is missing in the store" for path in sorted(missing)]
        if kind in CLEAN:
            found += [f"{path} is left in the store" for path in sorted(extra)]
        self._orphans |= extra
        self.tally.counts["orphans"] += len(extra)
        return found

    def _scratch(self) -> list[str]:
        """Wait until no scratch of a dead process is left, nor anything in that of the living."""
        left: list[str] = []

        def is_clear() -> bool:
            left[:] = []
            for name, box in self.boxes.items():
                folders = [path for path in (box.instance / "scratch").glob("*") if path.is_dir()]
                left.extend(f"{name}: {path}" for folder in folders for path in folder.iterdir())
                if len(folders) > SEPARATIONS:  # as many processes has each box, of either kind
                    left.append(f"{name}: {len(folders)} folders")
            return not left

        self.wait(is_clear, "clear scratch", 20)
        return [f"left in scratch: {each}" for each in left]

    def _forget(self, traffic: ClusterTraffic) -> None:
        """Keep the latest finished jobs, and delete the others, as their account does."""
        answered = [upload for upload in traffic.uploads if upload.job_id and not upload.deleted]
        for upload in answered:
            if self.rows("SELECT 1 FROM jobs WHERE id = ? AND status = 'completed'", upload.job_id):
                self.wholes[upload.job_id] = self.caller.get("download.php", id=str(upload.job_id)).content
                self.finished.append(upload)
        while len(self.finished) > KEPT:
            upload = self.finished.pop(0)
            url = f"{self.webs[0].api}/jobs.php?id={upload.job_id}"
            answer = requests.delete(url, headers=self.caller.headers, timeout=60)
            assert answer.status_code == 200, answer.text
            del self.wholes[upload.job_id]
