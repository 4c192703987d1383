// SPDX-License-Identifier: MIT
//
// Socket.IO in a cluster whose Redis is killed, stopped, slow, full or replaced by nonsense while
// events are on their way, and whose workers are killed. Whatever happens, nobody gets an event
// twice or in another order, what is local goes on, and in the end all reach all.
import { test } from 'node:test';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import assert from 'node:assert/strict';
import { createClient } from 'redis';
import { startClient, startMember } from './cluster.js';
import { LIMIT, startMinnow, workersOf } from './minnow.js';
import { sleep, startRedis, until } from './redis.js';

const MINNOWS = ['minnow-a', 'minnow-b'];

// A test's function: body(redis, use) with a Redis, and use() for what else is to be ended.
function withRedis(args, body) {
    return async (t) => {
        const things = [];
        const redis = await startRedis(...args);
        const release = async () => {
            for (const thing of things.splice(0).reverse()) await (thing.close ?? thing.kill)();
            await redis.release();
        };
        const use = async (promise) => {
            const thing = await promise;
            things.push(thing);
            return thing;
        };
        t.signal.addEventListener('abort', release);
        try {
            await body(redis, use);
        } finally {
            await release();
        }
    };
}

// Servers by their names, those of minnow with two workers, each with a client on WebSocket, who is
// its caller, and one on polling. `urls` are those of servers that reach Redis by another way.
async function startCluster(redis, use, names, { mode = 'classic', urls = {} } = {}) {
    const c = { members: [], clients: [], callers: [] };

    for (const name of names) {
        const kind = name.split('-')[0];
        const url = urls[name] ?? redis.url;
        const member = await use(startMember(kind, name, url, mode, kind === 'minnow' ? 2 : 1));
        c.members.push(member);
        for (const transport of ['websocket', 'polling'])
            c.clients.push(
                await use(startClient(member, transport, `${member.name}-${transport}`)),
            );
        c.callers.push(c.clients.at(-2));
    }
    await sleep(500); // until all have subscribed
    return c;
}

// Events with numbers from 0 on, one after the other, until it is stopped.
function startStream(caller) {
    const stream = { caller, sent: 0, going: true };

    stream.done = (async () => {
        while (stream.going) {
            await caller.act('emit', [], [], caller.label, stream.sent++);
            await sleep(2);
        }
    })();
    stream.stop = async () => {
        stream.going = false;
        await stream.done;
    };
    return stream;
}

const numbersOf = (client, { label }) =>
    client.got.filter(([sender]) => sender === label).map(([, number]) => number);

function assertIncreasing(numbers, what) {
    assert.ok(
        numbers.every((number, i) => i === 0 || number > numbers[i - 1]),
        `${what}: ${numbers}`,
    );
}

const counts = (c, streams) => () =>
    JSON.stringify(
        c.clients.map((client) => [
            client.label,
            streams.map(({ caller, sent }) => `${numbersOf(client, caller).length}/${sent}`),
        ]),
    );

// From now on each client gets events of each stream.
async function allReachAll(c, streams) {
    const from = streams.map(({ sent }) => sent);

    await until(counts(c, streams), () =>
        c.clients.every((client) =>
            streams.every(({ caller }, i) => (numbersOf(client, caller).at(-1) ?? -1) >= from[i]),
        ),
    );
}

// Stop them. All clients have the last event; of each server nobody has one twice or in another
// order, and `complete(client, caller)` says who has all.
async function stopAll(c, streams, complete) {
    for (const stream of streams) await stream.stop();
    await until(counts(c, streams), () =>
        c.clients.every((client) =>
            streams.every(({ caller, sent }) => numbersOf(client, caller).at(-1) === sent - 1),
        ),
    );
    await sleep(100); // what comes twice comes by then
    for (const client of c.clients)
        for (const { caller, sent } of streams) {
            const numbers = numbersOf(client, caller);
            const what = `${client.label} of ${caller.label}`;
            assertIncreasing(numbers, what);
            if (complete(client, caller)) assert.equal(numbers.length, sent, what);
        }
}

const sameProcess = (client, caller) => client.pid === caller.pid;

// What a server that works does: all sockets are known, and each process answers.
async function assertWhole(c, callers = c.callers) {
    const pids = c.members.flatMap((member) => member.pids);

    for (const caller of callers) {
        const [error, sockets] = await caller.act('fetch');
        assert.equal(error, 0);
        assert.deepEqual(
            sockets.map(({ id }) => id).sort(),
            c.clients.map(({ id }) => id).sort(),
        );
        const [, answers] = await caller.act('server ask', [], [], 1);
        assert.deepEqual(
            answers.map(({ pid }) => pid).sort(),
            pids.filter((pid) => pid !== caller.pid).sort(),
        );
    }
}

for (const mode of ['classic', 'sharded'])
    test(
        `${mode}: Redis is killed in the middle, and comes back`,
        LIMIT,
        withRedis([], async (redis, use) => {
            const c = await startCluster(redis, use, [...MINNOWS, 'node-a'], { mode });
            const streams = c.callers.map(startStream);
            const minnows = streams.slice(0, 2);

            await allReachAll(c, streams);
            await redis.stop('SIGKILL');
            await until(counts(c, streams), () =>
                c.members.every((m) => m.kind === 'node' || m.count('bus down') === 2),
            );
            const from = minnows.map(({ sent }) => sent);
            await until(counts(c, streams), () =>
                minnows.every(({ caller }, i) => numbersOf(caller, caller).at(-1) > from[i] + 20),
            );
            await redis.start();
            await allReachAll(c, streams);
            await stopAll(c, streams, sameProcess);
            await assertWhole(c);
        }),
    );

test(
    'Redis stands still for a while, and nothing is lost',
    LIMIT,
    withRedis([], async (redis, use) => {
        const c = await startCluster(redis, use, [...MINNOWS, 'node-a']);
        const streams = c.callers.map(startStream);

        await allReachAll(c, streams);
        redis.signal('SIGSTOP');
        const from = streams.map(({ sent }) => sent);
        await until(counts(c, streams), () =>
            streams.every(({ caller }, i) => numbersOf(caller, caller).at(-1) > from[i] + 100),
        );
        const asked = c.callers[0].act('fetch'); // waits for its answer, or for its timeout
        await sleep(1000);
        redis.signal('SIGCONT');
        assert.equal((await asked)[0], 0);
        await stopAll(c, streams, () => true);
        await assertWhole(c);
    }),
);

// A way to Redis that takes `delay` ms in each direction, and so many bytes a second.
async function startSlowWay(port, delay, rate) {
    const sockets = new Set();
    const pass = (from, to) => {
        let free = 0;
        let last = Promise.resolve();
        from.on('data', (data) => {
            free = Math.max(free, Date.now()) + (data.length * 1000) / rate;
            const due = free + delay;
            last = last.then(() => sleep(Math.max(0, due - Date.now()))).then(() => to.write(data));
        });
    };
    const server = net.createServer((near) => {
        const far = net.connect(port, '127.0.0.1');
        for (const socket of [near, far]) {
            sockets.add(socket);
            socket.on('error', () => {});
            socket.on('close', () => {
                near.destroy();
                far.destroy();
            });
        }
        pass(near, far);
        pass(far, near);
    });

    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
        url: `redis://127.0.0.1:${server.address().port}`,
        close: () => {
            for (const socket of sockets) socket.destroy();
            server.close();
        },
    };
}

test(
    'the way to Redis is slow for one server, and nothing is lost',
    LIMIT,
    withRedis([], async (redis, use) => {
        const slow = await use(startSlowWay(redis.port, 100, 1000000));
        const urls = { 'minnow-b': slow.url };
        const c = await startCluster(redis, use, [...MINNOWS, 'node-a'], { urls });
        const streams = c.callers.map(startStream);

        await allReachAll(c, streams);
        await assertWhole(c);
        await sleep(1000);
        await stopAll(c, streams, () => true);
        await assertWhole(c);
    }),
);

test(
    'a server whose subscription is over the limit of its output is ended, and comes back',
    LIMIT,
    withRedis(['--client-output-buffer-limit', 'pubsub 1mb 0 0'], async (redis, use) => {
        const c = await startCluster(redis, use, [...MINNOWS, 'node-a']);
        const still = c.members[1];
        const awake = c.clients.filter(({ member }) => member !== still);
        const large = 'x'.repeat(400000);
        const [caller] = c.callers;

        still.signal('SIGSTOP');
        for (let i = 0; i < 50; i++) await caller.act('emit', [], [], caller.label, i, large);
        await until(counts(c, []), () =>
            awake.every((client) => numbersOf(client, caller).length === 50),
        );
        still.signal('SIGCONT');
        await until(() => still.lines.join(), () => still.count('bus up') === 4);
        assert.equal(still.count('bus down'), 2);
        assert.equal(c.members[0].count('bus down'), 0); // nobody else noticed
        for (const client of c.clients) {
            assertIncreasing(numbersOf(client, caller), client.label);
            client.got = [];
        }
        await sleep(200);
        const streams = c.callers.map(startStream);
        await allReachAll(c, streams);
        await stopAll(c, streams, () => true);
        await assertWhole(c);
    }),
);

// What is no Redis: each connection gets the next of these, and then nothing more.
const NONSENSE = [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '$99999999999999\r\n',
    '*1\r\n'.repeat(100000),
    '%4294967295\r\n'.repeat(1000),
    '+OK\r\n'.repeat(100000),
    '-ERR no\r\n'.repeat(1000),
    '>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n'.repeat(1000),
    '>4\r\n+pmessage\r\n*0\r\n_\r\n:1\r\n',
    ':-1\r\n:-9223372036854775809\r\n',
    '',
    randomBytes(10000),
    'x'.repeat(1 << 20),
];

async function startNonsense(port) {
    const sockets = new Set();
    const nonsense = { connections: 0 };
    const server = net.createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.write(NONSENSE[nonsense.connections++ % NONSENSE.length]);
    });

    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    nonsense.close = async () => {
        for (const socket of sockets) socket.destroy();
        if (!server.listening) return;
        server.close();
        await once(server, 'close');
    };
    return nonsense;
}

const memoryOf = (pid) =>
    Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

test(
    'what answers in place of Redis may say anything',
    LIMIT,
    withRedis([], async (redis, use) => {
        const c = await startCluster(redis, use, MINNOWS);
        const streams = c.callers.map(startStream);

        await allReachAll(c, streams);
        await redis.stop('SIGKILL');
        const nonsense = await use(startNonsense(redis.port));
        await until(
            () => `${nonsense.connections}`,
            () => nonsense.connections >= 2 * NONSENSE.length,
        );
        for (const pid of c.members.flatMap(({ pids }) => pids))
            assert.ok(memoryOf(pid) < 100 << 20, `${pid} has ${memoryOf(pid)} bytes`);
        await nonsense.close();
        await redis.start();
        await allReachAll(c, streams);
        await stopAll(c, streams, sameProcess);
        await assertWhole(c);
    }),
);

const DISCONNECT = 4;
const SHARDED_DISCONNECT = 6;
const disconnects = (type, opts) =>
    (type === DISCONNECT || type === SHARDED_DISCONNECT) &&
    opts !== null &&
    typeof opts === 'object' &&
    !Array.isArray(opts);

// Messages of a member that is broken. None is a legal request to disconnect clients.
function brokenMessages() {
    const odd = [null, 0, -1, 'x', '', '#', '\0', [], [[]], {}, [1, {}, null], 'y'.repeat(5000)];
    const messages = [
        Buffer.alloc(0),
        Buffer.from('{'),
        Buffer.from('{"type":'),
        Buffer.from('['.repeat(100000)),
        Buffer.from('{"type":6,"data":'.repeat(10000)),
        Buffer.from('df' + 'ff'.repeat(4), 'hex'), // a map of 2^32 - 1
        Buffer.from('dd' + 'ff'.repeat(4), 'hex'),
        Buffer.from('c6' + 'ff'.repeat(4), 'hex'), // so many bytes
        Buffer.alloc(100000, 0x91),
        Buffer.from('93a178', 'hex'),
        Buffer.from('93a17883a47479706502a46461746190a36e7370a12f80', 'hex'), // no event
    ];

    for (let type = -2; type <= 15; type++)
        for (const value of odd) {
            const target = { rooms: value, except: [], flags: value };
            const opts = type === DISCONNECT || type === SHARDED_DISCONNECT ? [target] : target;
            const packet = { type: 2, data: value, nsp: '/' };
            const fields = { requestId: value, rooms: value, sockets: value, clientCount: value };
            const all = { ...fields, opts, data: value, packet };
            messages.push(
                { type, uid: 'u', ...all },
                { type, uid: value, requestId: 'r', opts, data: ['e'], packet },
                { type, uid: 'u', requestId: 'r', opts: value, packet: value },
                { type, uid: 'u', nsp: '/', data: all },
                { type, uid: 'u', nsp: '/', data: { ...all, requestId: 'r' } },
                { type, uid: 'u', nsp: '/', data: { ...all, opts: value, packet: value } },
                { type, uid: 'u', nsp: '/', data: value },
                { type, uid: value, nsp: value, data: all },
                { type, requestId: 'r', sid: value, room: value },
            );
        }
    return messages
        .filter((m) => !disconnects(m.type, m.opts) && !disconnects(m.type, m.data?.opts))
        .map((m) => (Buffer.isBuffer(m) ? m : Buffer.from(JSON.stringify(m))));
}

for (const mode of ['classic', 'sharded'])
    test(
        `${mode}: another member may say anything`,
        LIMIT,
        withRedis([], async (redis, use) => {
            const c = await startCluster(redis, use, MINNOWS, { mode });
            const broken = createClient({ url: redis.url });
            const channels =
                mode === 'sharded'
                    ? ['socket.io#/#', 'socket.io#/#x#']
                    : ['#/#', '#/#x#', '#/##', '-request#/#', '-response#/#'].map(
                          (end) => `socket.io${end}`,
                      );

            await broken.connect();
            await use({ close: () => broken.destroy() });
            for (const client of c.clients) await client.join('x');
            await sleep(200);
            const streams = c.callers.map(startStream);
            const asked = c.callers.map((caller) => caller.act('ask', [], [], 1));
            for (const message of brokenMessages())
                for (const channel of channels)
                    await (mode === 'sharded'
                        ? broken.sPublish(channel, message)
                        : broken.publish(channel, message));
            for (const [error, answers] of await Promise.all(asked)) {
                assert.equal(error, 0);
                assert.equal(answers.length, c.clients.length);
            }
            await allReachAll(c, streams);
            await stopAll(c, streams, () => true);
            for (const { lines } of c.members) assert.ok(!lines.includes('bus down'));
            await assertWhole(c);
        }),
    );

// In the chat of the program an event goes to all clients, its sender too.
test(
    'a worker that is killed under load is replaced, and the others notice nothing',
    LIMIT,
    withRedis([], async (redis, use) => {
        const programs = [];
        const clients = [];
        const lost = new Set();

        for (let i = 0; i < 2; i++)
            programs.push(await use(startMinnow('--redis', redis.url, '--workers', '2')));
        const node = await use(startMember('node', 'node', redis.url, 'classic'));
        for (const member of [...programs, ...programs, node])
            for (const transport of ['websocket', 'polling']) {
                const label = `client ${clients.length}`;
                clients.push(await use(startClient(member, transport, label, '/chat')));
            }
        for (const client of clients) client.socket.on('disconnect', () => lost.add(client));
        await sleep(200);
        const senders = clients.filter(({ member }) => member !== node);
        const streams = senders.map((caller) => ({ caller, sent: 0 }));
        const timer = setInterval(() => {
            for (const s of streams) s.caller.socket.emit('event', s.caller.label, s.sent++);
        }, 5);
        const c = { clients };
        try {
            await allReachAll(c, streams);
            const [victim, other] = workersOf(programs[0]);
            process.kill(victim, 'SIGKILL');
            await until(() => `${lost.size}`, () => lost.size > 0);
            await until(
                () => programs[0].log,
                () =>
                    [...lost].every(({ socket }) => socket.connected) &&
                    workersOf(programs[0]).length === 2,
            );
            await allReachAll(c, streams);
            assert.ok(workersOf(programs[0]).includes(other));
        } finally {
            clearInterval(timer);
        }
        const unlost = clients.filter((client) => !lost.has(client));
        assert.ok(unlost.some(({ member }) => member === programs[0]));
        assert.ok([...lost].every(({ member }) => member === programs[0]));
        await stopAll(
            c,
            streams.map((stream) => ({ ...stream, stop: () => {} })),
            (client, caller) => !lost.has(client) && !lost.has(caller),
        );
    }),
);
