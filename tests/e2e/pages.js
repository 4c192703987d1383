// SPDX-License-Identifier: MIT
//
// Serve the browser pages of examples/ and an empty page, both with npm's bundle of Socket.IO's client
// instead of the one from its CDN, at an origin of their own.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const EXAMPLES = new URL('../../examples/', import.meta.url);
const BUNDLE = new URL('node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url);
const EMPTY = '<!doctype html><title>empty</title><script src="/socket.io.min.js"></script>';

async function content(path) {
    if (path === '/socket.io.min.js') return ['text/javascript', await readFile(BUNDLE)];
    if (path === '/') return ['text/html', EMPTY];
    const page = await readFile(fileURLToPath(new URL(`.${path}`, EXAMPLES)), 'utf8');
    return ['text/html', page.replace(/https:\/\/cdn\.socket\.io\/[^"]*/, '/socket.io.min.js')];
}

// { origin, close }
export async function startPages(port = 0) {
    const server = createServer((request, response) => {
        content(request.url).then(
            ([type, body]) => response.writeHead(200, { 'Content-Type': type }).end(body),
            () => response.writeHead(404).end(),
        );
    });
    server.unref();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
