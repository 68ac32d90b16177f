import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'http://127.0.0.1:8000/api/v1';

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
