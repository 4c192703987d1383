// SPDX-License-Identifier: MIT
//
// npm's socket.io-client, the newest and the first of version 4, unmodified, and the newest with
// socket.io-msgpack-parser, against tests/e2e/sio_server.c and the program.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import WebSocket from 'ws';
import { io as newest } from 'socket.io-client';
import oldest from 'socket.io-client-4.0.0';
import parser from 'socket.io-msgpack-parser';
import { LIMIT, withMinnow } from './minnow.js';
import { startProxy } from './cut_proxy.js';
import { startSioServer } from './sio_server.js';
import { startWsProxy } from './ws_proxy.js';

const CLIENTS = [
    ['4.8.4', newest, {}],
    ['4.0.0', oldest.io, {}],
    ['4.8.4 with msgpack', (uri, own) => newest(uri, { ...own, parser }), { msgpack: true }],
];
const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];
const COUNT = 10000;

// The arguments of the next such event, whatever it is called.
function next(emitter, event) {
    return new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
}

// A test's function: run `body` with a server of its own and a function that makes clients. When the
// test's time is up all of it ends, so that nothing waits for it any longer.
function withServer(body, options = {}) {
    return async (t) => {
        const server = await startSioServer(options);
        const ends = [server.kill];
        const use = (resource) => {
            ends.push(() => resource.close());
            return resource;
        };
        const connect = (io, options = {}, nsp = '', at = server.http) =>
            use(io(`${at}${nsp}`, { forceNew: true, reconnectionDelay: 20, ...options }));
        const end = async () => {
            while (ends.length > 0) await ends.pop()();
        };
        t.signal.addEventListener('abort', end);
        try {
            await body({ server, connect, use });
        } finally {
            await end();
        }
    };
}

for (const [version, io, options] of CLIENTS) {
    for (const transports of TRANSPORTS) {
        const what = `${version} by ${transports.join(' and ')}`;

        test(
            `${what}: events come back as they went`,
            LIMIT,
            withServer(async ({ connect }) => {
                const socket = connect(io, { transports });
                await next(socket, 'connect');
                const args = [1, -0.5, 'häß "€" \n\u2028 🐟', null, true, [], { a: { b: [1, 2] } }];
                socket.emit('echo', ...args);
                assert.deepEqual(await next(socket, 'echo'), args);
                socket.emit('echo', 'x'.repeat(500000));
                assert.equal((await next(socket, 'echo'))[0].length, 500000);
            }, options),
        );

        test(
            `${what}: binary goes in both directions`,
            LIMIT,
            withServer(async ({ connect }) => {
                const socket = connect(io, { transports });
                await next(socket, 'connect');
                const data = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
                socket.emit(
                    'echo',
                    data,
                    { deep: [Buffer.alloc(100000, 7), 'x'] },
                    Buffer.alloc(0),
                );
                const [first, { deep }, empty] = await next(socket, 'echo');
                assert.ok(data.equals(first));
                assert.ok(deep[0].equals(Buffer.alloc(100000, 7)));
                assert.equal(deep[1], 'x');
                assert.equal(empty.length, 0);
            }, options),
        );

        test(
            `${what}: acknowledgements go both ways, and may be missing`,
            LIMIT,
            withServer(async ({ connect }) => {
                const socket = connect(io, { transports });
                await next(socket, 'connect');
                const got = await new Promise((resolve) =>
                    socket.emit('any', 1, { b: Buffer.from('x') }, (...args) => resolve(args)),
                );
                assert.equal(got[0], 1);
                assert.ok(got[1].b.equals(Buffer.from('x')));
                socket.once('question', (a, b, answer) => answer(b, a, Buffer.from('z')));
                socket.emit('ask', 1, 2);
                const [b, a, z] = await next(socket, 'answered');
                assert.deepEqual([b, a, String(z)], [2, 1, 'z']);
                socket.once('question', () => {});
                socket.emit('ask');
                assert.deepEqual(await next(socket, 'answered'), [-16]);
            }, options),
        );
    }

    test(
        `${version}: many namespaces share a connection`,
        LIMIT,
        withServer(async ({ connect }) => {
            const shared = { forceNew: false };
            const main = connect(io, shared);
            const admin = connect(io, { ...shared, auth: { token: 'secret' } }, '/admin');
            assert.deepEqual(await next(admin, 'auth'), [{ token: 'secret' }]);
            assert.equal(main.io, admin.io);
            if (!main.connected) await next(main, 'connect');
            assert.notEqual(main.id, admin.id);
            admin.on('all', () => assert.fail('an event of another namespace'));
            main.emit('all', 1);
            assert.deepEqual(await next(main, 'all'), [1]);
            const nowhere = connect(io, shared, '/nowhere');
            const [error] = await next(nowhere, 'connect_error');
            assert.equal(error.message, 'Invalid namespace');
            const stranger = connect(io, { auth: { token: 'guess' } }, '/admin');
            const [refused] = await next(stranger, 'connect_error');
            assert.equal(refused.message, 'not authorized');
            assert.deepEqual(refused.data, { content: 'please retry later' });
        }, options),
    );

    for (const transports of TRANSPORTS) {
        test(
            `${version} by ${transports.join(' and ')}: the server decides later who may connect`,
            LIMIT,
            withServer(async ({ server, connect }) => {
                const admitted = connect(io, { transports, query: { later: 'yes' } });
                await next(admitted, 'connect');
                admitted.emit('echo', 1);
                assert.deepEqual(await next(admitted, 'echo'), [1]);
                const refused = connect(io, {
                    transports,
                    query: { later: 'no' },
                    reconnection: false,
                });
                const [error] = await next(refused, 'connect_error');
                assert.match(error.message, transports[0] === 'polling' ? /xhr/ : /websocket/);
                await server.line(/^refused: 4 Forbidden not now$/);
            }, options),
        );
    }

    test(
        `${version}: rooms reach their members and not the sender`,
        LIMIT,
        withServer(async ({ connect }) => {
            const sockets = ['polling', 'websocket', 'websocket', 'polling'].map((transport) =>
                connect(io, { transports: [transport] }),
            );
            const [a, b, c, outside] = sockets;
            await Promise.all(sockets.map((socket) => next(socket, 'connect')));
            const ask = (socket, ...args) =>
                new Promise((resolve) => socket.emit(...args, resolve));
            for (const socket of [a, b, c]) await ask(socket, 'join', 'room');
            for (const socket of [a, outside]) socket.on('to', () => assert.fail('not for it'));
            a.emit('to', 'room', 'hello', Buffer.from('x'));
            for (const [text, data] of await Promise.all([next(b, 'to'), next(c, 'to')]))
                assert.deepEqual([text, String(data)], ['hello', 'x']);
            await ask(c, 'leave', 'room');
            c.on('to', () => assert.fail('it has left'));
            a.emit('to', 'room', 'again');
            assert.deepEqual(await next(b, 'to'), ['again']);
            for (const socket of sockets) await ask(socket, 'nothing');
        }, options),
    );

    test(
        `${version}: ten thousand numbers each way, with the upgrade in their middle`,
        LIMIT,
        withServer(async ({ connect, server, use }) => {
            const proxy = use(await startWsProxy(server.port, 200));
            const socket = connect(io, {}, '', proxy.http);
            const echoed = [];
            const numbers = [];
            let upgradedAt;
            const all = new Promise((resolve) => {
                const note = (list) => (n) => {
                    list.push(n);
                    if (echoed.length === COUNT && numbers.length === COUNT) resolve();
                };
                socket.on('echo', note(echoed)).on('number', note(numbers));
            });
            await next(socket, 'connect');
            assert.equal(socket.io.engine.transport.name, 'polling');
            const upgraded = next(socket.io.engine, 'upgrade').then(() => {
                upgradedAt = [echoed.length, numbers.length];
            });
            socket.emit('stream', 0, COUNT / 2);
            for (let i = 0; i < COUNT; i++) {
                if (i === COUNT / 2) {
                    await upgraded;
                    socket.emit('stream', COUNT / 2, COUNT);
                }
                socket.emit('echo', i);
                if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
            }
            await all;
            assert.equal(socket.io.engine.transport.name, 'websocket');
            assert.ok(upgradedAt[0] > 0 && upgradedAt[0] < COUNT, `upgraded at ${upgradedAt}`);
            const want = Array.from({ length: COUNT }, (_, i) => i);
            assert.deepEqual(echoed, want);
            // Two streams may overlap; each is in order.
            assert.deepEqual(
                numbers.filter((n) => n < COUNT / 2),
                want.slice(0, COUNT / 2),
            );
            assert.deepEqual(
                numbers.filter((n) => n >= COUNT / 2),
                want.slice(COUNT / 2),
            );
        }, options),
    );

    test(
        `${version}: where WebSockets do not get through, polling goes on`,
        LIMIT,
        withServer(async ({ connect, server, use }) => {
            const proxy = use(await startWsProxy(server.port, Infinity));
            const socket = connect(io, {}, '', proxy.http);
            await next(socket, 'connect');
            while (proxy.websockets === 0) {
                socket.emit('echo', 'before');
                await next(socket, 'echo');
            }
            for (let i = 0; i < 20; i++) {
                socket.emit('echo', i);
                assert.deepEqual(await next(socket, 'echo'), [i]);
            }
            assert.equal(socket.io.engine.transport.name, 'polling');
        }, options),
    );

    test(
        `${version}: a server that was killed is found again, with what was emitted meanwhile`,
        LIMIT,
        async () => {
            let server = await startSioServer(options);
            const socket = io(server.http, { forceNew: true, reconnectionDelay: 20 });
            try {
                await next(socket, 'connect');
                const id = socket.id;
                const gone = next(socket, 'disconnect');
                await server.kill();
                const [reason] = await gone;
                assert.ok(['transport close', 'transport error'].includes(reason), reason);
                for (let i = 0; i < 10; i++) socket.emit('echo', i);
                const got = [];
                const all = new Promise((resolve) =>
                    socket.on('echo', (n) => got.push(n) === 10 && resolve()),
                );
                server = await startSioServer({ ...options, port: server.port });
                await all;
                assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
                assert.notEqual(socket.id, id);
            } finally {
                socket.close();
                await server.kill();
            }
        },
    );

    test(
        `${version}: disconnections have the reason that the client knows`,
        LIMIT,
        withServer(async ({ connect }) => {
            const socket = connect(io);
            await next(socket, 'connect');
            socket.emit('kick');
            assert.equal((await next(socket, 'disconnect'))[0], 'io server disconnect');
            socket.connect(); // it does not come back by itself
            await next(socket, 'connect');
            socket.emit('close'); // while it may be upgrading
            assert.equal((await next(socket, 'disconnect'))[0], 'io server disconnect');
        }, options),
    );

    // The program has the default parser alone.
    if (options.msgpack) continue;
    test(
        `${version}: minnow chats with clients on polling and on WebSockets`,
        LIMIT,
        withMinnow([], async (minnow) => {
            const sockets = ['polling', 'websocket'].map((transport) =>
                io(`${minnow.http}/den`, { forceNew: true, transports: [transport] }),
            );
            try {
                await Promise.all(sockets.map((socket) => next(socket, 'connect')));
                const heard = sockets.map((socket) => next(socket, 'line'));
                const ack = new Promise((resolve) =>
                    sockets[0].emit('line', 'hello', 7, (...args) => resolve(args)),
                );
                for (const args of await Promise.all(heard)) assert.deepEqual(args, ['hello', 7]);
                assert.deepEqual(await ack, ['hello', 7]);
                const gone = sockets.map((socket) => next(socket, 'disconnect'));
                minnow.interrupt();
                await Promise.all(gone);
            } finally {
                for (const socket of sockets) socket.close();
            }
        }),
    );
}

for (const transports of TRANSPORTS) {
    test(
        `4.8.4 by ${transports.join(' and ')}: who is cut off comes back and gets what it missed`,
        LIMIT,
        withServer(
            async ({ server, connect, use }) => {
                const proxy = use(await startProxy(server.port));
                const socket = connect(newest, { transports }, '', proxy.http);
                const other = connect(newest);
                const got = [];
                await Promise.all([next(socket, 'connect'), next(other, 'connect')]);
                socket.on('to', (n, data) => got.push([n, data && String(data)]));
                await socket.emitWithAck('join', 'room');
                await other.emitWithAck('to', 'room', 0); // an offset to come back with
                while (got.length === 0) await next(socket, 'to');
                const { id } = socket;
                const gone = next(socket, 'disconnect');
                proxy.refusing = true;
                proxy.cut();
                await gone;
                // Between two polls the server knows of the cut only when a pong is missing.
                while ((await other.emitWithAck('count others', 'room')) !== 0);
                for (let i = 1; i < 20; i++) await other.emitWithAck('to', 'room', i);
                await other.emitWithAck('to', 'room', 20, Buffer.from('x'));
                await other.emitWithAck('to', 'another', 99);
                proxy.refusing = false;
                await next(socket, 'connect');
                assert.equal(socket.recovered, true);
                assert.equal(socket.id, id);
                await other.emitWithAck('to', 'room', 21);
                while (got.length < 22) await next(socket, 'to');
                assert.deepEqual(
                    got.map(([n]) => n),
                    Array.from({ length: 22 }, (_, i) => i),
                );
                assert.equal(got[20][1], 'x');
            },
            { recovery: true },
        ),
    );
}

test(
    '4.8.4: events named like those of Node are events like all others',
    LIMIT,
    withServer(async ({ connect }) => {
        const socket = connect(newest);
        await next(socket, 'connect');
        for (const name of ['error', 'message', 'connection', 'constructor', '__proto__'])
            assert.equal(await socket.emitWithAck(name, 'x'), 'x');
    }),
);

// The browser build of npm, as a page gets it.
const SCRIPT = new URL('node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url);

test(
    '4.8.4: minnow serves the script that it is given, and a client made of it connects',
    LIMIT,
    withMinnow(['--socketio-client', fileURLToPath(SCRIPT)], async (minnow) => {
        const answer = await fetch(`${minnow.http}/socket.io/socket.io.js`);
        const code = await answer.text();
        assert.equal(code, await readFile(SCRIPT, 'utf8'));
        const again = await fetch(`${minnow.http}/socket.io/socket.io.js`, {
            headers: { 'if-none-match': answer.headers.get('etag') },
        });
        assert.equal(again.status, 304);
        const page = { WebSocket, setTimeout, clearTimeout };
        page.self = page;
        runInNewContext(code, page);
        const socket = page.io(minnow.http, {
            transports: ['websocket'],
            reconnection: false,
        });
        try {
            await next(socket, 'connect');
            socket.emit('line', 'from the script');
            assert.deepEqual(await next(socket, 'line'), ['from the script']);
        } finally {
            socket.close();
        }
    }),
);
