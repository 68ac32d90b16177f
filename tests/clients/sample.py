"""The documented Python sample: base URL, key and file name come from the environment, and it polls."""

import os
import time

import requests

API_KEY = os.environ["EZSTEMS_KEY"]
API_BASE = os.environ["EZSTEMS_API"]

# Upload file
with open(os.environ["EZSTEMS_FILE"], 'rb') as f:  # noqa: PTH123
    response = requests.post(
        f'{API_BASE}/upload.php',
        headers={'Authorization': f'Bearer {API_KEY}'},
        files={'file': f},
        data={'stems': 4}
    )

process_id = response.json()['data']['id']

# Check status
for _ in range(600):
    status_response = requests.get(
        f'{API_BASE}/status.php',
        headers={'Authorization': f'Bearer {API_KEY}'},
        params={'id': process_id}
    )
    if status_response.json()['data']['status'] in ('completed', 'failed'):
        break
    time.sleep(0.2)

# Download when ready
if status_response.json()['data']['status'] == 'completed':
    download_response = requests.get(
        f'{API_BASE}/download.php',
        headers={'Authorization': f'Bearer {API_KEY}'},
        params={'id': process_id},
        stream=True
    )
    with open('stems.zip', 'wb') as f:  # noqa: PTH123
        for chunk in download_response.iter_content(chunk_size=8192):
            f.write(chunk)
