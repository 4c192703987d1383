// SPDX-License-Identifier: MIT
//
// A TCP proxy that can fail as networks do: cut every connection, refuse new ones, or swallow what
// the server answers.
import { createServer, connect } from 'node:net';
import { once } from 'node:events';

export async function startProxy(port) {
    const sockets = new Set();
    const proxy = { attempts: 0, refusing: false, muted: false };

    function track(socket) {
        sockets.add(socket);
        socket.unref();
        socket.on('close', () => sockets.delete(socket));
        socket.on('error', () => {}); // cutting is what this proxy is for
    }

    const server = createServer((client) => {
        proxy.attempts++;
        track(client);
        if (proxy.refusing) {
            client.destroy();
            return;
        }
        const upstream = connect(port, '127.0.0.1');
        track(upstream);
        client.pipe(upstream);
        upstream.on('data', (data) => {
            if (!proxy.muted) client.write(data);
        });
        upstream.on('close', () => client.end());
        client.on('close', () => upstream.destroy());
    });
    server.unref(); // a test that failed must not keep the runner waiting
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');

    proxy.http = `http://127.0.0.1:${server.address().port}`;
    proxy.cut = () => {
        for (const socket of sockets) socket.destroy();
    };
    proxy.close = () => {
        server.close();
        proxy.cut();
    };
    return proxy;
}
