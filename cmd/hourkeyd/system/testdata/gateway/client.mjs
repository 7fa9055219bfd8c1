// A program that knows nothing of Hourkey: what Node.js itself reads of its environment is all it gets.
//
//   client.mjs URL FILE                  posts a file of JSON, prints the answer and its status
//   client.mjs handshake HOST:PORT NAME  connects there, and says whether it is believed to be NAME
//   client.mjs https URL FILE            as the first, by node:https instead of fetch
import { readFileSync } from 'node:fs';
import https from 'node:https';
import tls from 'node:tls';

const [what, ...rest] = process.argv.slice(2);
const headers = { 'content-type': 'application/json' };

if (what === 'handshake') {
  const [address, name] = rest;
  const [host, port] = address.split(':');
  const line = tls.connect({ host, port: Number(port), servername: name }, () => {
    console.log('believed');
    line.destroy();
  });
  line.on('error', (refused) => console.log('refused:', refused.code, refused.message));
} else if (what === 'https') {
  const [url, file] = rest;
  const request = https.request(url, { method: 'POST', headers }, async (answer) => {
    let text = '';
    for await (const chunk of answer) text += chunk;
    console.log(text, answer.statusCode);
  });
  request.on('error', (error) => { console.log('error:', error.message); process.exitCode = 1; });
  request.end(readFileSync(file));
} else {
  const answer = await fetch(what, { method: 'POST', headers, body: readFileSync(rest[0]) });
  console.log(await answer.text(), answer.status);
}
