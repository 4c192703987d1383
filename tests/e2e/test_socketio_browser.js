// SPDX-License-Identifier: MIT
//
// Socket.IO's client in Chromium, from a page of another origin.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { startBrowser } from './browser.js';
import { startMember } from './cluster.js';
import { startProxy } from './cut_proxy.js';
import { LIMIT, startMinnow } from './minnow.js';
import { startPages } from './pages.js';
import { sleep, startRedis } from './redis.js';
import { startSioServer } from './sio_server.js';
import { startWsProxy } from './ws_proxy.js';

const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];

let browser;
let pages;

before(async () => {
    browser = await startBrowser();
    pages = await startPages();
});
after(async () => {
    await browser.close();
    pages.close();
});

// A test's function: run `body` with a tab in which window.connect(url, options) makes a socket, and a
// server.
function withTab(start, body) {
    return async (t) => {
        const server = await start();
        const ends = [() => server.kill()];
        const use = (resource) => {
            ends.push(() => resource.close());
            return resource;
        };
        const end = async () => {
            while (ends.length > 0) await ends.pop()();
        };
        t.signal.addEventListener('abort', end);
        try {
            const tab = use(await browser.newPage());
            await tab.goto(pages.origin);
            await tab.evaluate(() => {
                window.connect = (url, options) =>
                    io(url, { forceNew: true, reconnectionDelay: 20, ...options });
                window.next = (emitter, event) =>
                    new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
            });
            await body({ tab, server, use });
        } finally {
            await end();
        }
    };
}

for (const transports of TRANSPORTS) {
    test(
        `${transports.join(' and ')}: events, binary and acknowledgements`,
        LIMIT,
        withTab(startSioServer, async ({ tab, server }) => {
            const got = await tab.evaluate(
                async ([url, transports]) => {
                    const socket = connect(url, { transports });
                    await next(socket, 'connect');
                    const data = Uint8Array.from({ length: 1000 }, (_, i) => i);
                    socket.emit('echo', 'häß 🐟', data, { deep: [data.buffer] });
                    const [text, first, { deep }] = await next(socket, 'echo');
                    const ack = await socket.emitWithAck('any', 7);
                    const same = (a) => String(new Uint8Array(a)) === String(data);
                    return [text, same(first), same(deep[0]), ack];
                },
                [server.http, transports],
            );
            assert.deepEqual(got, ['häß 🐟', true, true, 7]);
        }),
    );
}

test(
    'namespaces, refusal and rooms',
    LIMIT,
    withTab(startSioServer, async ({ tab, server }) => {
        const got = await tab.evaluate(async (url) => {
            const a = connect(url, { forceNew: false });
            const b = connect(url);
            const admin = connect(`${url}/admin`, { forceNew: false, auth: { token: 'secret' } });
            const stranger = connect(`${url}/admin`);
            const [[auth], [error]] = await Promise.all([
                next(admin, 'auth'),
                next(stranger, 'connect_error'),
            ]);
            await Promise.all([a, b].map((socket) => socket.emitWithAck('join', 'room')));
            a.emit('to', 'room', 'hello');
            const [text] = await next(b, 'to');
            return [auth, error.message, error.data, text, a.io === admin.io];
        }, server.http);
        assert.deepEqual(got, [
            { token: 'secret' },
            'not authorized',
            { content: 'please retry later' },
            'hello',
            true,
        ]);
    }),
);

test(
    'ten thousand numbers each way, with the upgrade in their middle',
    LIMIT,
    withTab(startSioServer, async ({ tab, server, use }) => {
        const proxy = use(await startWsProxy(server.port, 200));
        const got = await tab.evaluate(async (url) => {
            const COUNT = 10000;
            const socket = connect(url);
            const echoed = [];
            const numbers = [];
            const all = new Promise((resolve) => {
                const note = (list) => (n) => {
                    list.push(n);
                    if (echoed.length === COUNT && numbers.length === COUNT) resolve();
                };
                socket.on('echo', note(echoed)).on('number', note(numbers));
            });
            await next(socket, 'connect');
            const before = socket.io.engine.transport.name;
            const upgraded = next(socket.io.engine, 'upgrade');
            socket.emit('stream', 0, COUNT);
            for (let i = 0; i < COUNT; i++) {
                if (i === COUNT / 2) await upgraded;
                socket.emit('echo', i);
                if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
            }
            await all;
            const inOrder = (list) => list.every((n, i) => n === i);
            return [before, socket.io.engine.transport.name, inOrder(echoed), inOrder(numbers)];
        }, proxy.http);
        assert.deepEqual(got, ['polling', 'websocket', true, true]);
    }),
);

test(
    'where WebSockets do not get through, polling goes on',
    LIMIT,
    withTab(startSioServer, async ({ tab, server, use }) => {
        const proxy = use(await startWsProxy(server.port, Infinity));
        await tab.evaluate(async (url) => {
            window.socket = connect(url);
            await next(socket, 'connect');
        }, proxy.http);
        while (proxy.websockets === 0) await tab.evaluate(() => {});
        const got = await tab.evaluate(async () => {
            for (let i = 0; i < 20; i++) {
                socket.emit('echo', i);
                await next(socket, 'echo');
            }
            return socket.io.engine.transport.name;
        });
        assert.equal(got, 'polling');
    }),
);

test(
    'a server that was killed is found again, with what was emitted meanwhile',
    LIMIT,
    withTab(startSioServer, async ({ tab, server, use }) => {
        await tab.evaluate(async (url) => {
            window.socket = connect(url);
            await next(socket, 'connect');
            window.gone = next(socket, 'disconnect');
        }, server.http);
        await server.kill();
        await tab.evaluate(async () => {
            await gone;
            window.got = [];
            socket.on('echo', (n) => got.push(n));
            for (let i = 0; i < 10; i++) socket.emit('echo', i);
        });
        const again = await startSioServer({ port: server.port });
        use({ close: again.kill });
        assert.deepEqual(
            await tab.evaluate(async () => {
                while (got.length < 10) await next(socket, 'echo');
                return got;
            }),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        );
    }),
);

test(
    'who is cut off comes back and gets what it missed',
    LIMIT,
    withTab(
        () => startSioServer({ recovery: true }),
        async ({ tab, server, use }) => {
            const proxy = use(await startProxy(server.port));
            await tab.evaluate(
                async ([direct, through]) => {
                    window.socket = connect(through);
                    window.other = connect(direct);
                    window.got = [];
                    await Promise.all([next(socket, 'connect'), next(other, 'connect')]);
                    socket.on('to', (n) => got.push(n));
                    await socket.emitWithAck('join', 'room');
                    await other.emitWithAck('to', 'room', 0);
                    while (got.length === 0) await next(socket, 'to');
                    window.gone = next(socket, 'disconnect');
                },
                [server.http, proxy.http],
            );
            proxy.refusing = true;
            proxy.cut();
            await tab.evaluate(async () => {
                await gone;
                while ((await other.emitWithAck('count others', 'room')) !== 0);
                for (let i = 1; i < 20; i++) await other.emitWithAck('to', 'room', i);
            });
            proxy.refusing = false;
            const [recovered, list] = await tab.evaluate(async () => {
                await next(socket, 'connect');
                while (got.length < 20) await next(socket, 'to');
                return [socket.recovered, got];
            });
            assert.equal(recovered, true);
            assert.deepEqual(
                list,
                Array.from({ length: 20 }, (_, i) => i),
            );
        },
    ),
);

// In the tab: what comes of connecting.
const attempt = async ([url, transports]) => {
    const socket = connect(url, { transports, reconnection: false });
    return Promise.race([
        next(socket, 'connect').then(() => 'connected'),
        next(socket, 'connect_error').then(([error]) => error.message),
    ]);
};

test(
    'minnow serves the origins that it was told, by every transport',
    LIMIT,
    withTab(
        () => startMinnow('--origin', pages.origin),
        async ({ tab, server }) => {
            for (const transports of TRANSPORTS)
                assert.equal(await tab.evaluate(attempt, [server.http, transports]), 'connected');
        },
    ),
);

test(
    'minnow serves no other origin, by no transport',
    LIMIT,
    withTab(startMinnow, async ({ tab, server }) => {
        assert.equal(await tab.evaluate(attempt, [server.http, ['polling']]), 'xhr poll error');
        assert.equal(await tab.evaluate(attempt, [server.http, ['websocket']]), 'websocket error');
    }),
);

test('browsers on two minnows of a cluster and on a Node server see all', LIMIT, async (t) => {
    const redis = await startRedis();
    const servers = [];
    const tabs = [];
    const end = async () => {
        for (const tab of tabs.splice(0)) await tab.close();
        for (const server of servers.splice(0)) await server.kill();
        await redis.release();
    };
    t.signal.addEventListener('abort', end);
    try {
        for (let i = 0; i < 2; i++)
            servers.push(await startMinnow('--redis', redis.url, '--origin', pages.origin));
        servers.push(await startMember('node', 'node', redis.url, 'classic'));
        for (const server of servers) {
            const tab = await browser.newPage();
            tabs.push(tab);
            await tab.goto(pages.origin);
            await tab.evaluate(async (url) => {
                window.got = [];
                window.socket = io(`${url}/chat`, { forceNew: true });
                socket.on('event', (text) => got.push(text));
                await new Promise((resolve) => socket.once('connect', resolve));
            }, server.http);
        }
        await sleep(200); // until the new rooms have their channels
        await tabs[0].evaluate(() => socket.emit('event', 'häß 🐟 of the first'));
        await tabs[1].evaluate(() => socket.emit('event', 'of the second'));
        await tabs[2].evaluate(() => socket.emit('do', 'emit', [], [], 'of Node', () => {}));
        for (const tab of tabs) {
            await tab.waitForFunction(() => got.length >= 3);
            assert.deepEqual((await tab.evaluate(() => got)).sort(), [
                'häß 🐟 of the first',
                'of Node',
                'of the second',
            ]);
        }
    } finally {
        await end();
    }
});
