// The documented Node sample: base URL, key and file name come from the environment, and it polls.
const axios = require('axios');
const FormData = require('form-data');
const fs = require('fs');

const API_KEY = process.env.EZSTEMS_KEY;
const API_BASE = process.env.EZSTEMS_API;

async function processSong() {
  try {
    // Upload file
    const form = new FormData();
    form.append('file', fs.createReadStream(process.env.EZSTEMS_FILE));
    form.append('stems', '4');

    const uploadResponse = await axios.post(`${API_BASE}/upload.php`, form, {
      headers: {
        ...form.getHeaders(),
        'Authorization': `Bearer ${API_KEY}`
      }
    });

    const processId = uploadResponse.data.data.id;

    // Check status
    let statusResponse;
    for (let poll = 0; poll < 600; poll++) {
      statusResponse = await axios.get(`${API_BASE}/status.php`, {
        params: { id: processId },
        headers: { 'Authorization': `Bearer ${API_KEY}` }
      });
      if (['completed', 'failed'].includes(statusResponse.data.data.status)) break;
      await new Promise(resolve => setTimeout(resolve, 200));
    }

    // Download when ready
    if (statusResponse.data.data.status === 'completed') {
      const writer = fs.createWriteStream('stems.zip');
      const downloadResponse = await axios.get(`${API_BASE}/download.php`, {
        params: { id: processId },
        headers: { 'Authorization': `Bearer ${API_KEY}` },
        responseType: 'stream'
      });
      downloadResponse.data.pipe(writer);
    }
  } catch (error) {
    console.error('Error:', error.response?.data || error.message);
  }
}

processSong();
