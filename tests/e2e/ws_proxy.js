// SPDX-License-Identifier: MIT
//
// An HTTP proxy as some networks have it: what asks for a WebSocket is cut off, or comes late.
import { createServer, connect } from 'node:net';
import { once } from 'node:events';

// delay: milliseconds that a WebSocket's request is held back; Infinity: it never gets through.
export async function startWsProxy(port, delay) {
    const sockets = new Set();
    const proxy = { websockets: 0 };

    function track(socket) {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        socket.on('error', () => {});
    }

    const server = createServer((client) => {
        const upstream = connect(port, '127.0.0.1');

        track(client);
        track(upstream);
        upstream.pipe(client);
        client.on('data', (data) => {
            if (!/^upgrade: *websocket/im.test(data.toString('latin1'))) {
                upstream.write(data);
                return;
            }
            proxy.websockets++;
            if (delay === Infinity) client.destroy();
            else setTimeout(() => upstream.write(data), delay);
        });
        client.on('close', () => upstream.destroy());
        upstream.on('close', () => client.destroy());
    });
    server.unref();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy.http = `http://127.0.0.1:${server.address().port}`;
    proxy.close = () => {
        server.close();
        for (const socket of sockets) socket.destroy();
    };
    return proxy;
}
