// SPDX-License-Identifier: MIT
//
// npm's two WebSocket clients, ws and websocket.
import { test } from 'node:test';
import { once } from 'node:events';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import websocket from 'websocket';
import { LIMIT, withMinnow } from './minnow.js';

const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];

async function openWs(url, options = {}) {
    const socket = new WebSocket(url, options.protocols ?? [], options);
    await once(socket, 'open');
    return socket;
}

// What the server answered instead of 101: { status, headers }.
async function refusal(url, options = {}) {
    const socket = new WebSocket(url, options.protocols ?? [], options);
    socket.on('error', () => {}); // of ending the attempt below
    const [request, response] = await once(socket, 'unexpected-response');
    request.destroy();
    return { status: response.statusCode, headers: response.headers };
}

async function closeWs(socket, ...args) {
    const closed = once(socket, 'close');
    socket.close(...args);
    const [code, reason] = await closed;
    return [code, String(reason)];
}

test(
    'ws: text and binary of every size come back as they were',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const socket = await openWs(minnow.ws);
        for (const size of SIZES) {
            for (const binary of [true, false]) {
                const sent = Buffer.alloc(size, binary ? 0xfe : 'x');
                socket.send(sent, { binary });
                const [got, isBinary] = await once(socket, 'message');
                assert.equal(isBinary, binary);
                assert.ok(got.equals(sent), `${size} bytes`);
            }
        }
        assert.equal(socket.extensions, ''); // permessage-deflate was offered, and is not spoken
        assert.deepEqual(await closeWs(socket, 1000, 'done'), [1000, 'done']);
    }),
);

test(
    'ws: fragments with pings between them come back as one message',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const socket = await openWs(minnow.ws);
        const pongs = [];
        socket.on('pong', (data) => pongs.push(String(data)));
        socket.send('one ', { fin: false });
        socket.ping('a');
        socket.send('two ', { fin: false });
        socket.ping('b'.repeat(125));
        socket.send('', { fin: false });
        socket.send('three', { fin: true });
        const [got] = await once(socket, 'message');
        assert.equal(String(got), 'one two three');
        assert.deepEqual(pongs, ['a', 'b'.repeat(125)]);
        await closeWs(socket);
    }),
);

test(
    'ws: what a client does not read is held back, not lost',
    LIMIT,
    withMinnow(['echo', '--max-queue', '2M'], async (minnow) => {
        const socket = await openWs(minnow.ws);
        const count = 64;
        const message = Buffer.alloc(1 << 20, 7);
        let got = 0;

        socket.pause();
        const sent = new Promise((resolve, reject) => {
            for (let i = 0; i < count; i++)
                socket.send(message, (error) => {
                    if (error) reject(error);
                    else if (i === count - 1) resolve();
                });
        });
        const all = new Promise((resolve, reject) => {
            socket.on('message', (data) => {
                if (!data.equals(message)) reject(new Error(`message ${got} came back changed`));
                if (++got === count) resolve();
            });
            socket.on('close', (code) =>
                reject(new Error(`closed with ${code} after ${got} messages`)),
            );
        });
        socket.resume();
        await Promise.all([sent, all]);
        socket.removeAllListeners('close');
        await closeWs(socket);
    }),
);

test(
    'ws: refusals have the status that says why',
    LIMIT,
    withMinnow(['echo', '--max-message', '1K'], async (minnow) => {
        const old = await refusal(minnow.ws, { protocolVersion: 8 });
        assert.equal(old.status, 426);
        assert.equal(old.headers['sec-websocket-version'], '13');
        assert.equal(
            (await refusal(minnow.ws, { origin: 'https://elsewhere.example' })).status,
            403,
        );
        await assert.rejects(openWs(minnow.ws, { protocols: ['soap'] }), /no subprotocol/);

        const socket = await openWs(minnow.ws, { origin: minnow.http });
        socket.send('x'.repeat(1025));
        const [code] = await once(socket, 'close');
        assert.equal(code, 1009);
    }),
);

test(
    'a client that offers a subprotocol given by option stays connected',
    LIMIT,
    withMinnow(['echo', '--subprotocol', 'v2.chat', '--subprotocol', 'chat'], async (minnow) => {
        const socket = await openWs(minnow.ws, { protocols: ['soap', 'chat', 'v2.chat'] });
        assert.equal(socket.protocol, 'v2.chat');
        socket.send('still here');
        assert.equal(String((await once(socket, 'message'))[0]), 'still here');
        await closeWs(socket);

        const connection = await openWebsocket(minnow.ws, {}, ['chat']);
        assert.equal(connection.protocol, 'chat');
        connection.sendUTF('still here');
        assert.equal((await once(connection, 'message'))[0].utf8Data, 'still here');
        connection.close();
        await once(connection, 'close');
    }),
);

test(
    'ws: a room of fifty hears every message once and in order',
    LIMIT,
    withMinnow([], async (minnow) => {
        const sockets = await Promise.all(
            Array.from({ length: 50 }, () => openWs(`${minnow.ws}/den`)),
        );
        const outside = await openWs(`${minnow.ws}/den2`);
        const heard = sockets.map(
            (socket) =>
                new Promise((resolve) => {
                    const lines = [];
                    socket.on('message', (data) => {
                        if (lines.push(Number(data)) === 100) resolve(lines);
                    });
                }),
        );
        outside.on('message', (data) => assert.equal(String(data), 'own'));

        for (let i = 0; i < 100; i++) sockets[0].send(String(i));
        const want = Array.from({ length: 100 }, (_, i) => i);
        for (const lines of await Promise.all(heard)) assert.deepEqual(lines, want);
        outside.send('own');
        await once(outside, 'message');

        // They go on SIGINT, which is what ends this test: each must see 1001.
        const codes = Promise.all(
            sockets.map((socket) => once(socket, 'close').then(([code]) => code)),
        );
        minnow.interrupt();
        assert.deepEqual(new Set(await codes), new Set([1001]));
    }),
);

function openWebsocket(url, options = {}, protocols = undefined, origin = undefined) {
    const client = new websocket.client(options);
    return new Promise((resolve, reject) => {
        client.on('connect', resolve).on('connectFailed', reject);
        client.connect(url, protocols, origin);
    });
}

test(
    'websocket: text and binary of every size come back, in fragments too',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        for (const fragmentationThreshold of [0x4000, 1000]) {
            const connection = await openWebsocket(minnow.ws, {
                fragmentationThreshold,
                maxReceivedFrameSize: 2 << 20,
                maxReceivedMessageSize: 2 << 20,
            });
            for (const size of SIZES) {
                connection.sendUTF('t'.repeat(size));
                const [text] = await once(connection, 'message');
                assert.equal(text.utf8Data, 't'.repeat(size));
                connection.sendBytes(Buffer.alloc(size, 0xff));
                const [binary] = await once(connection, 'message');
                assert.ok(binary.binaryData.equals(Buffer.alloc(size, 0xff)));
            }
            connection.close();
            const [code] = await once(connection, 'close');
            assert.equal(code, 1000);
        }
    }),
);

test(
    'websocket: pings are answered, closing with a code ends with it',
    LIMIT,
    withMinnow(['echo', '-v'], async (minnow) => {
        const connection = await openWebsocket(minnow.ws);
        connection.ping('are you there?');
        const [pong] = await once(connection, 'pong');
        assert.equal(String(pong), 'are you there?');
        connection.close(4000, 'enough');
        await once(connection, 'close');
        assert.match(minnow.log, /closed \/: 4000 "enough"/);
    }),
);

test(
    'websocket: refusals reach the caller',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        await assert.rejects(
            openWebsocket(minnow.ws, {}, undefined, 'https://elsewhere.example'),
            /403/,
        );
        await assert.rejects(openWebsocket(minnow.ws, { webSocketVersion: 8 }), /426/);
        await assert.rejects(openWebsocket(minnow.ws, {}, ['soap']), /Sec-WebSocket-Protocol/);
    }),
);
