// What openapi-generator makes for TypeScript's fetch.
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Configuration, Job, Output, Status, Stems, StemsApi } from './typescript-fetch';

async function main() {
  const stems = new StemsApi(new Configuration({ accessToken: process.env.EZSTEMS_KEY! }));
  const file = new File([await readFile('song.mp3')], 'song.mp3');
  const { id } = (await stems.uploadSong({ file, stems: Stems.NUMBER_2, output: Output.Flac })).data;
  let job: Job;
  do {
    await sleep(200);
    job = (await stems.getStatus({ id })).data;
  } while (job.status === Status.Queued || job.status === Status.Processing);
  if (job.status !== Status.Completed) throw new Error(JSON.stringify(job));
  await writeFile('stems.zip', Buffer.from(await (await stems.downloadStems({ id })).arrayBuffer()));
}

main();
