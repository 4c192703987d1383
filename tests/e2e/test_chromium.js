// SPDX-License-Identifier: MIT
//
// Chromium's own WebSocket, without the page's script in between.
import { after, before, test } from 'node:test';
import { createServer } from 'node:http';
import { once } from 'node:events';
import assert from 'node:assert/strict';
import { startBrowser } from './browser.js';
import { LIMIT, withMinnow } from './minnow.js';

let browser;

before(async () => {
    browser = await startBrowser();
});
after(() => browser.close());

// Run `body` in a tab that shows `url`; what it takes and returns is copied as JSON.
async function inTab(url, body, ...args) {
    const tab = await browser.newPage();
    try {
        await tab.goto(url);
        return await tab.evaluate(body, args);
    } finally {
        await tab.close();
    }
}

// An empty page of another origin: { origin, close() }.
async function startStranger() {
    const server = createServer((request, response) => {
        response
            .writeHead(200, { 'Content-Type': 'text/html' })
            .end('<!doctype html><title>other</title>');
    });
    server.unref();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

// In a tab: open a socket; 'open', or the code it closed with.
const tryToOpen = ([url, protocols]) =>
    new Promise((resolve) => {
        const socket = new WebSocket(url, protocols ?? []);
        socket.onopen = () => resolve('open');
        socket.onclose = (event) => resolve(event.code);
    });

test(
    'text of every size comes back as it was',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const wrong = await inTab(
            minnow.http,
            async ([url]) => {
                const socket = new WebSocket(url);
                await new Promise((resolve, reject) => {
                    socket.onopen = resolve;
                    socket.onclose = reject;
                });
                const bad = [];
                const sizes = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20];
                const messages = sizes
                    .map((size) => 'm'.repeat(size))
                    .concat('häß €uro 🐟', '\0', '🐟'.repeat(1 << 18));
                for (const message of messages) {
                    const back = new Promise((resolve, reject) => {
                        socket.onmessage = resolve;
                        socket.onclose = reject;
                    });
                    socket.send(message);
                    if ((await back).data !== message) bad.push(message.length);
                }
                return bad.concat(socket.extensions, socket.protocol).filter((x) => x !== '');
            },
            minnow.ws,
        );
        assert.deepEqual(wrong, []);
    }),
);

test(
    'binary of every size comes back as it was, as ArrayBuffer and as Blob',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const wrong = await inTab(
            minnow.http,
            async ([url]) => {
                const socket = new WebSocket(url);
                await new Promise((resolve, reject) => {
                    socket.onopen = resolve;
                    socket.onclose = reject;
                });
                const bad = [];
                for (const kind of ['arraybuffer', 'blob']) {
                    socket.binaryType = kind;
                    for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
                        const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31) >> 3);
                        const back = new Promise((resolve, reject) => {
                            socket.onmessage = resolve;
                            socket.onclose = reject;
                        });
                        socket.send(kind === 'blob' ? new Blob([bytes]) : bytes);
                        const { data } = await back;
                        const got = new Uint8Array(
                            kind === 'blob' ? await data.arrayBuffer() : data,
                        );
                        if (got.length !== size || got.some((byte, i) => byte !== bytes[i]))
                            bad.push([kind, size]);
                    }
                }
                return bad;
            },
            minnow.ws,
        );
        assert.deepEqual(wrong, []);
    }),
);

test(
    'a thousand messages without waiting come back in order',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const order = await inTab(
            minnow.http,
            ([url]) =>
                new Promise((resolve, reject) => {
                    const socket = new WebSocket(url);
                    const got = [];
                    socket.onopen = () => {
                        for (let i = 0; i < 1000; i++) socket.send(i);
                    };
                    socket.onclose = reject;
                    socket.onmessage = ({ data }) => {
                        if (got.push(Number(data)) === 1000) resolve(got);
                    };
                }),
            minnow.ws,
        );
        assert.deepEqual(
            order,
            Array.from({ length: 1000 }, (_, i) => i),
        );
    }),
);

test(
    'a close with a code and a reason ends cleanly with these on both sides',
    LIMIT,
    withMinnow(['echo', '-v'], async (minnow) => {
        for (const [code, reason] of [
            [1000, ''],
            [1000, 'done'],
            [3000, 'ö'.repeat(61)],
            [4999, 'last'],
        ]) {
            const event = await inTab(
                minnow.http,
                ([url, ...args]) =>
                    new Promise((resolve) => {
                        const socket = new WebSocket(url);
                        socket.onopen = () => socket.close(...args);
                        socket.onclose = (e) =>
                            resolve({ code: e.code, reason: e.reason, clean: e.wasClean });
                    }),
                minnow.ws,
                code,
                reason,
            );
            assert.deepEqual(event, { code, reason, clean: true });
            assert.ok(minnow.log.includes(`closed /: ${code} "${reason}"`), minnow.log);
        }
        const event = await inTab(
            minnow.http,
            ([url]) =>
                new Promise((resolve) => {
                    const socket = new WebSocket(url);
                    socket.onopen = () => socket.close();
                    socket.onclose = (e) => resolve({ code: e.code, clean: e.wasClean });
                }),
            minnow.ws,
        );
        assert.deepEqual(event, { code: 1005, clean: true }); // a Close without status
    }),
);

test(
    'a message over the limit is answered with 1009, also when it is long',
    LIMIT,
    withMinnow(['echo', '--max-message', '64K'], async (minnow) => {
        for (const size of [65537, 1 << 20, 8 << 20]) {
            const code = await inTab(
                minnow.http,
                ([url, bytes]) =>
                    new Promise((resolve) => {
                        const socket = new WebSocket(url);
                        socket.onopen = () => socket.send(new Uint8Array(bytes));
                        socket.onclose = (e) => resolve(e.code);
                    }),
                minnow.ws,
                size,
            );
            assert.equal(code, 1009, `${size} bytes`);
        }
    }),
);

test(
    'a subprotocol that the server does not speak is not chosen, so Chromium gives up',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        assert.equal(await inTab(minnow.http, tryToOpen, minnow.ws, ['soap', 'wamp']), 1006);
        assert.equal(await inTab(minnow.http, tryToOpen, minnow.ws), 'open');
    }),
);

test(
    'a subprotocol given by option is agreed on, so Chromium stays connected',
    LIMIT,
    withMinnow(['echo', '--subprotocol', 'wamp'], async (minnow) => {
        const heard = await inTab(
            minnow.http,
            ([url, ...protocols]) =>
                new Promise((resolve) => {
                    const socket = new WebSocket(url, protocols);
                    socket.onopen = () => socket.send('still here');
                    socket.onmessage = (e) => resolve(`${socket.protocol}: ${e.data}`);
                    socket.onclose = (e) => resolve(e.code);
                }),
            minnow.ws,
            'soap',
            'wamp',
        );
        assert.equal(heard, 'wamp: still here');
    }),
);

test(
    'a page of another origin is refused and the log says how to allow it',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const stranger = await startStranger();
        assert.equal(await inTab(stranger.origin, tryToOpen, minnow.ws), 1006);
        assert.match(minnow.log, /403/);
        assert.ok(minnow.log.includes(stranger.origin), minnow.log);
        assert.match(minnow.log, /--origin/);
        assert.equal(await inTab('about:blank', tryToOpen, minnow.ws), 1006); // Origin: null
        stranger.close();
    }),
);

test('a page of another origin is let in when --origin names it', LIMIT, async (t) => {
    const [stranger, other] = [await startStranger(), await startStranger()];
    await withMinnow(['echo', '--origin', stranger.origin], async (minnow) => {
        assert.equal(await inTab(stranger.origin, tryToOpen, minnow.ws), 'open');
        assert.equal(await inTab(other.origin, tryToOpen, minnow.ws), 1006);
        assert.equal(await inTab(minnow.http, tryToOpen, minnow.ws), 'open');
    })(t);
    await withMinnow(['echo', '--origin', '*'], async (minnow) => {
        assert.equal(await inTab(other.origin, tryToOpen, minnow.ws), 'open');
    })(t);
    stranger.close();
    other.close();
});

test(
    'localhost and the number are each their own origin',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const named = `localhost:${minnow.port}`;
        assert.equal(await inTab(`http://${named}/`, tryToOpen, `ws://${named}/`), 'open');
    }),
);
