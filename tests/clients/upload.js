// Upload a file with axios, in chunks if asked to; print the status and the body that were read.
const axios = require('axios');
const FormData = require('form-data');
const fs = require('fs');
const { PassThrough } = require('stream');

async function upload() {
  const form = new FormData();
  form.append('stems', '2');
  form.append('file', fs.createReadStream(process.env.EZSTEMS_FILE));
  // axios asks a form for its length; a stream that can't tell is sent in chunks.
  const body = process.env.EZSTEMS_CHUNKED ? form.pipe(new PassThrough()) : form;
  const response = await axios.post(`${process.env.EZSTEMS_API}/upload.php`, body, {
    headers: { ...form.getHeaders(), 'Authorization': `Bearer ${process.env.EZSTEMS_KEY}` },
    validateStatus: () => true
  });
  console.log(JSON.stringify({ status: response.status, body: response.data }));
}

upload().catch(error => {
  console.error(error.message);
  process.exit(1);
});
