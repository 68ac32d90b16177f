// What @hey-api/openapi-ts makes.
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { downloadStems, getStatus, uploadSong, type Job } from './hey-api';
import { client } from './hey-api/client.gen';

async function main() {
  client.setConfig({ auth: process.env.EZSTEMS_KEY! });
  const file = new File([await readFile('song.mp3')], 'song.mp3');
  const uploaded = await uploadSong({ body: { file, stems: 2, output: 'flac' }, throwOnError: true });
  const query = { id: uploaded.data.data.id };
  let job: Job;
  do {
    await sleep(200);
    job = (await getStatus({ query, throwOnError: true })).data.data;
  } while (job.status === 'queued' || job.status === 'processing');
  if (job.status !== 'completed') throw new Error(JSON.stringify(job));
  const zip = (await downloadStems({ query, throwOnError: true })).data as Blob;
  await writeFile('stems.zip', Buffer.from(await zip.arrayBuffer()));
}

main();
