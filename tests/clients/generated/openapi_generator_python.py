"""What openapi-generator makes for Python."""

import os
import time
from pathlib import Path

from openapi_client import ApiClient, Configuration, Cutoff, Output, Status, Stems, StemsApi

with ApiClient(Configuration(access_token=os.environ["EZSTEMS_KEY"])) as client:
    stems = StemsApi(client)
    job = stems.upload_song("song.mp3", Stems.NUMBER_2, cutoff=Cutoff.FULL, output=Output.FLAC).data
    while job.status in (Status.QUEUED, Status.PROCESSING):
        time.sleep(0.2)
        job = stems.get_status(job.id).data
    assert job.status is Status.COMPLETED, job
    Path("stems.zip").write_bytes(stems.download_stems(job.id))
