import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'http://127.0.0.1:8000/api/v1';

// Answer a call, or end with what the server says is wrong.
async function call(path, { headers, ...options } = {}) {
  headers = { Authorization: `Bearer ${KEY}`, ...headers };
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

// The server answers when the job ends, or after 50 seconds; or at once, and says when to ask again.
const waiting = { headers: { Prefer: 'wait=50' } };
let pauseSeconds = 0;
for (let asked = 1; ['queued', 'processing'].includes(job.status); asked++) {
  await sleep(pauseSeconds * 1000);
  const response = await call(`status.php?id=${job.id}`, waiting);
  job = (await response.json()).data;
  console.log(job);
  const hasWaited = response.headers.has('Preference-Applied');
  pauseSeconds = hasWaited ? 0 : Number(response.headers.get('Retry-After') ?? Math.min(asked, 10));
}

await writeFile('stems.zip', (await call(`download.php?id=${job.id}`)).body);
