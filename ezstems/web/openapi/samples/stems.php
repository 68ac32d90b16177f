<?php
const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'http://127.0.0.1:8000/api/v1';

// Answer a call with its body, or end with what the server says is wrong.
function call(string $path, array $options = [])
{
    $curl = curl_init(API . '/' . $path);
    curl_setopt_array($curl, [
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . KEY],
        CURLOPT_RETURNTRANSFER => true,
    ] + $options);
    $body = curl_exec($curl);
    if ($body === false || curl_getinfo($curl, CURLINFO_RESPONSE_CODE) !== 200) {
        fwrite(STDERR, (is_string($body) ? $body : curl_error($curl)) . PHP_EOL);
        exit(1);
    }
    return $body;
}

$form = ['file' => new CURLFile(FILE), 'stems' => '4'];
$job = json_decode(call('upload.php', [CURLOPT_POSTFIELDS => $form]))->data;

$wait = 1;
while (in_array($job->status, ['queued', 'processing'])) {
    sleep($wait);
    $wait = min($wait + 1, 10);
    $job = json_decode(call('status.php?id=' . $job->id))->data;
    echo json_encode($job), PHP_EOL;
}

if ($job->status === 'failed') {
    exit(1);
}
call('download.php?id=' . $job->id, [CURLOPT_FILE => fopen('stems.zip', 'wb')]);
