// Serves the built page, the dashboards and the API of a Prometheus at one loopback address, and prints that address.
//
//   node serve.mjs DASHBOARDS PROMETHEUS_URL
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const [dashboards, prometheus] = process.argv.slice(2);
const built = join(import.meta.dirname, 'dist');
const types = { '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.woff2': 'font/woff2' };

async function answer(url) {
  if (url.startsWith('/api/')) {
    const response = await fetch(prometheus + url);
    return { status: response.status, type: 'application/json', body: Buffer.from(await response.arrayBuffer()) };
  }
  const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
  const file = path.startsWith('/dashboards/') ? join(dashboards, path.slice('/dashboards/'.length)) : join(built, path === '/' ? 'index.html' : path);
  return { status: 200, type: types[extname(file)] ?? 'application/octet-stream', body: await readFile(file) };
}

const server = createServer(async (request, response) => {
  const { status, type, body } = await answer(request.url).catch((error) => ({ status: 404, type: 'text/plain', body: String(error) }));
  response.writeHead(status, { 'content-type': type }).end(body);
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
