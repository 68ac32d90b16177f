// What orval makes for fetch.
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { downloadStems, getStatus, uploadSong, type Job } from './orval/client';

async function main() {
  const options = { headers: { Authorization: `Bearer ${process.env.EZSTEMS_KEY}` } };
  const file = new File([await readFile('song.mp3')], 'song.mp3');
  const uploaded = await uploadSong({ file, stems: 2, output: 'flac' }, options);
  if (uploaded.status !== 200) throw new Error(uploaded.data.message);
  const { id } = uploaded.data.data;
  let job: Job;
  do {
    await sleep(200);
    const answer = await getStatus({ id }, options);
    if (answer.status !== 200) throw new Error(answer.data.message);
    job = answer.data.data;
  } while (job.status === 'queued' || job.status === 'processing');
  if (job.status !== 'completed') throw new Error(JSON.stringify(job));
  const zip = await downloadStems({ id }, options);
  if (zip.status !== 200) throw new Error('no stems');
  await writeFile('stems.zip', Buffer.from(await zip.data.arrayBuffer()));
}

main();
