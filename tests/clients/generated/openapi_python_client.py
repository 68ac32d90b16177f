"""What openapi-python-client makes."""

import os
import time
from pathlib import Path

from ezstems_client import AuthenticatedClient
from ezstems_client.api.stems import download_stems, get_status, upload_song
from ezstems_client.models import Output, Status, Stems, Upload
from ezstems_client.types import File

with AuthenticatedClient(os.environ["EZSTEMS_URL"], token=os.environ["EZSTEMS_KEY"]) as client:
    with Path("song.mp3").open("rb") as song:
        form = Upload(File(song, "song.mp3", "audio/mpeg"), Stems.VALUE_2, output=Output.FLAC)
        job = upload_song.sync(client=client, body=form).data
    while job.status in (Status.QUEUED, Status.PROCESSING):
        time.sleep(0.2)
        job = get_status.sync(client=client, id=job.id).data
    assert job.status is Status.COMPLETED, job
    Path("stems.zip").write_bytes(download_stems.sync(client=client, id=job.id).payload.read())
