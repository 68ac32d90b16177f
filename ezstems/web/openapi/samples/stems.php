<?php
const KEY = 'YOUR_API_KEY';
const FILE = 'song.mp3';
const API = 'http://127.0.0.1:8000/api/v1';

// Answer a call with its body, or end with what the server says is wrong.
function call(string $path, array $options = [], array $headers = [])
{
    $curl = curl_init(API . '/' . $path);
    curl_setopt_array($curl, [
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . KEY, ...$headers],
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

// The server answers when the job ends, or after 50 seconds; or at once, and says when to ask again.
$pause = 0;
for ($asked = 1; in_array($job->status, ['queued', 'processing']); $asked++) {
    sleep($pause);
    $said = [];
    $hear = function ($curl, string $line) use (&$said): int {
        $said[strtolower(strtok($line, ':'))] = trim((string) strtok(''));
        return strlen($line);
    };
    $body = call('status.php?id=' . $job->id, [CURLOPT_HEADERFUNCTION => $hear], ['Prefer: wait=50']);
    $job = json_decode($body)->data;
    echo json_encode($job), PHP_EOL;
    $pause = isset($said['preference-applied']) ? 0 : (int) ($said['retry-after'] ?? min($asked, 10));
}

if ($job->status === 'failed') {
    exit(1);
}
call('download.php?id=' . $job->id, [CURLOPT_FILE => fopen('stems.zip', 'wb')]);
