// SPDX-License-Identifier: MIT
//
// Clusters over a real Redis, which is killed, stopped, locked and replaced in the middle. The clients
// are npm's ws.
import { test } from 'node:test';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { io } from 'socket.io-client';
import { startClient, startMember } from './cluster.js';
import { LIMIT, startMinnow, workersOf } from './minnow.js';
import { blockOf } from './proxies.js';
import { sleep, startRedis, until } from './redis.js';

const BUS_CLIENT = fileURLToPath(new URL('../../build/tests/e2e/bus_client', import.meta.url));

// A test's function: `body(redis, use)` with a Redis, and use() for what else is to be ended.
function withRedis(args, body) {
    return async (t) => {
        const things = [];
        const use = async (promise) => {
            const thing = await promise;
            things.push(thing);
            return thing;
        };
        const redis = await startRedis(...args);
        const release = async () => {
            for (const thing of things) await (thing.release ?? thing.kill)();
            await redis.release();
        };
        t.signal.addEventListener('abort', release);
        try {
            await body(redis, use);
        } finally {
            await release();
        }
    };
}

async function connect(minnow, path = '/') {
    const socket = new WebSocket(minnow.ws + path);
    const client = { socket, got: [], send: (text) => socket.send(text) };

    socket.on('message', (data) => client.got.push(String(data)));
    await once(socket, 'open');
    client.expect = (texts) =>
        until(
            () => `${JSON.stringify(texts)} in ${JSON.stringify(client.got)}`,
            () => texts.every((text) => client.got.includes(text)),
        );
    return client;
}

// A bus at the command line.
async function startBus(...urls) {
    const child = spawn(BUS_CLIENT, urls, { stdio: ['pipe', 'pipe', 'pipe'] });
    const bus = { out: '', log: '', say: (line) => child.stdin.write(`${line}\n`) };

    child.stdout.setEncoding('utf8').on('data', (text) => {
        bus.out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
        bus.log += text;
    });
    bus.expect = (text) => until(() => `${text} in ${bus.out}; ${bus.log}`, () => bus.out.includes(text));
    bus.signal = (signal) => child.kill(signal);
    bus.release = () => child.kill('SIGKILL');
    return bus;
}

function numbered(name, count) {
    return Array.from({ length: count }, (_, i) => `${name} ${i}`);
}

// Each got all, once, and those of each sender in their order.
function assertAll(client, senders) {
    const wanted = Object.values(senders).flat();

    assert.deepEqual([...client.got].sort(), [...wanted].sort());
    for (const [name, texts] of Object.entries(senders))
        assert.deepEqual(client.got.filter((text) => text.startsWith(`${name} `)), texts);
}

test(
    'all members get all messages once and in order, on three minnows',
    LIMIT,
    withRedis([], async (redis, use) => {
        const senders = {};
        const clients = [];

        for (let m = 0; m < 3; m++) {
            const minnow = await use(startMinnow('--redis', redis.url));
            for (let c = 0; c < 2; c++) {
                clients.push(await connect(minnow, '/room'));
                senders[`${m}${c}`] = numbered(`${m}${c}`, 300);
            }
            clients.push(await connect(minnow, '/other'));
        }
        await sleep(300); // until all have subscribed
        const members = clients.filter((client) => client.socket.url.endsWith('/room'));
        Object.values(senders).forEach((texts, i) => texts.forEach(members[i].send));
        await Promise.all(members.map((client) => client.expect(Object.values(senders).flat())));
        await sleep(200);
        for (const client of clients)
            if (members.includes(client)) assertAll(client, senders);
            else assert.deepEqual(client.got, []);
    }),
);

// A client on each worker, at least.
async function connectToAll(minnow, workers, path) {
    const clients = [];
    const served = (i) => minnow.log.includes(`minnow[${i}]: #`);

    for (let i = 0; i < 4 * workers; i++) clients.push(await connect(minnow, path));
    await until(
        () => minnow.log,
        () => Array.from({ length: workers }, (_, i) => i).every(served),
    );
    return clients;
}

test(
    'all members get all messages once and in order, on two minnows of two workers',
    LIMIT,
    withRedis([], async (redis, use) => {
        const members = [];
        const others = [];
        const senders = {};

        for (let m = 0; m < 2; m++) {
            const minnow = await use(startMinnow('--redis', redis.url, '--workers', '2', '-v'));
            members.push(...(await connectToAll(minnow, 2, '/room')));
            others.push(await connect(minnow, '/other'));
        }
        await sleep(300); // until all have subscribed
        members.forEach((_, m) => {
            senders[m] = numbered(`${m}`, 100);
        });
        Object.values(senders).forEach((texts, m) => texts.forEach(members[m].send));
        await Promise.all(members.map((client) => client.expect(Object.values(senders).flat())));
        await sleep(200);
        for (const client of members) assertAll(client, senders);
        for (const client of others) assert.deepEqual(client.got, []);
    }),
);

test(
    'a worker that crashes while Redis is away is replaced, and shares rooms once it is back',
    LIMIT,
    withRedis([], async (redis, use) => {
        const minnow = await use(startMinnow('--redis', redis.url, '--workers', '2', '-v'));

        assert.equal(workersOf(minnow).length, 2);
        await redis.stop();
        await until(() => minnow.log, () => minnow.log.match(/redis: lost /g)?.length === 2);
        process.kill(workersOf(minnow)[0], 'SIGKILL');
        await until(() => minnow.log, () => minnow.log.includes('another one starts in 0.1 s'));
        await until(() => minnow.log, () => workersOf(minnow).length === 2);
        await sleep(2000); // more than it takes to start
        assert.equal(minnow.log.match(/another one starts/g).length, 1, minnow.log);
        const clients = await connectToAll(minnow, 2, '/');
        const from = minnow.log.length;
        await redis.start();
        const log = () => minnow.log.slice(from);
        await until(log, () => log().match(/redis: connected /g)?.length === 2);
        await sleep(300);
        clients[0].send('hello');
        for (const client of clients) await client.expect(['hello']);
    }),
);

test(
    'large and binary messages pass, by a Unix socket, too',
    LIMIT,
    withRedis([], async (redis, use) => {
        const a = await connect(await use(startMinnow('--redis', `redis+unix://${redis.path}`)));
        const b = await connect(await use(startMinnow('--redis', redis.url)));
        const large = 'x'.repeat(5 << 20);
        const got = once(b.socket, 'message');

        await sleep(300);
        a.socket.send(Buffer.from([0, 255, 13, 10]));
        const [data, isBinary] = await got;
        assert.deepEqual([...data], [0, 255, 13, 10]);
        assert.equal(isBinary, true);
        a.send(large);
        await b.expect([large]);
    }),
);

for (const signal of ['SIGTERM', 'SIGKILL'])
    test(
        `a Redis that ends by ${signal} and comes back loses nothing that waits`,
        LIMIT,
        withRedis([], async (redis, use) => {
            const one = await use(startMinnow('--redis', redis.url));
            const two = await use(startMinnow('--redis', redis.url));
            const [a, near, far] = [await connect(one), await connect(one), await connect(two)];

            await sleep(300);
            a.send('before');
            await far.expect(['before']);
            await redis.stop(signal);
            await until(() => one.log, () => one.log.includes('redis: lost'));
            a.send('while 0');
            a.send('while 1');
            await near.expect(['while 1']);
            await sleep(500);
            assert.deepEqual(far.got, ['before']);
            await redis.start();
            await until(() => two.log, () => two.log.includes('0 messages were dropped'));
            await until(() => one.log, () => one.log.includes('0 messages were dropped'));
            a.send('after');
            await near.expect(['after']);
            await far.expect(['after']);
            // What waited left as soon as one was back, and the other one may not have been.
            assert.deepEqual(near.got, ['before', 'while 0', 'while 1', 'after']);
            assert.deepEqual(far.got.filter((text) => !text.startsWith('while')), ['before', 'after']);
        }),
    );

test(
    'a Redis that is stopped is given up, and used again when it goes on',
    LIMIT,
    withRedis([], async (redis, use) => {
        const minnow = await use(startMinnow('--redis', redis.url));
        const bus = await use(startBus(redis.url)); // with shorter times
        const [a, b] = [await connect(minnow), await connect(minnow)];

        bus.say('psub minnow#room#*');
        await bus.expect('up\n');
        await sleep(300);
        redis.signal('SIGSTOP');
        a.send('meanwhile');
        await b.expect(['meanwhile']);
        await until(() => bus.log, () => bus.log.includes('does not answer any more'));
        await until(() => minnow.log, () => minnow.log.includes('does not answer any more'));
        redis.signal('SIGCONT');
        await until(() => minnow.log, () => minnow.log.includes('redis: connected to'));
        await until(() => bus.out, () => bus.out.match(/up\n/g).length === 2);
        a.send('again');
        await bus.expect('again\n');
    }),
);

test(
    'a password is needed, and the one that is given is used',
    LIMIT,
    withRedis(['--requirepass', 'se:cr@t'], async (redis, use) => {
        const at = `127.0.0.1:${redis.port}`;
        const refused = async (url) =>
            assert.rejects(startMinnow('--redis', url), (error) => {
                const [, line] = /ended with 1: (minnow: --redis .*)\n$/.exec(error.message);
                assert.ok(line.startsWith(`minnow: --redis ${at}: it `), line);
                assert.ok(!line.includes('wrong'), line);
                return true;
            });

        await refused(redis.url);
        await refused(`redis://:wrong@${at}`);
        await refused(`redis://nobody:wrong@${at}`);
        const a = await connect(await use(startMinnow('--redis', `redis://:se%3Acr%40t@${at}`)));
        const b = await connect(await use(startMinnow('--redis', `redis://default:se%3acr%40t@${at}`)));
        await sleep(300);
        a.send('hello');
        await b.expect(['hello']);
    }),
);

// --- rights --------------------------------------------------------------------------------------

const RIGHTS = blockOf('redis').trim().replace('>PASSWORD', '>pw').split(' ');
const urlOf = (redis) => `redis://minnow:pw@127.0.0.1:${redis.port}`;

// Make the user of docs/cluster.md, without some of its words and with `more`.
async function setUser(redis, without = [], more = []) {
    for (const word of without) assert.ok(RIGHTS.includes(word), word);
    await redis.command(['ACL', 'DELUSER', 'minnow']);
    const words = [...RIGHTS.filter((word) => !without.includes(word)), ...more];
    assert.match(await redis.command(words), /^\+OK/);
}

const ROOMS = ['allchannels', '+psubscribe', '+punsubscribe', '+pubsub|numsub'];

test(
    'with rooms only a user may have their channels alone',
    LIMIT,
    withRedis([], async (redis, use) => {
        await setUser(redis, ROOMS, ['resetchannels', '&minnow*']);
        const start = () => startMinnow('--redis', urlOf(redis), '--no-socketio');
        const a = await connect(await use(start()));
        const b = await connect(await use(start()));
        await sleep(300);
        a.send('hello');
        await b.expect(['hello']);
        await assert.rejects(
            startMinnow('--redis', urlOf(redis), '--cluster', 'other'),
            /minnow: --redis .*: it refuses a subscription: NOPERM/,
        );
    }),
);

const SHARDS = ['+spublish', '+ssubscribe', '+sunsubscribe', '+pubsub|shardnumsub'];
const CHANNELS = ['&socket.io#/#*', '&socket.io-request#*', '&socket.io-response#*'];

for (const [what, mode, without, more] of [
    ['the user of docs/cluster.md', 'classic', [], []],
    ['a user with channels of its namespaces', 'classic', ['allchannels'], ['resetchannels', ...CHANNELS, '&socket.io#/chat#*']],
    ['a user with the rights for shards', 'sharded', [...ROOMS, '+publish', '+subscribe', '+unsubscribe'], ['resetchannels', '&socket.io#*', ...SHARDS]],
])
    test(
        `${what} may do all that Socket.IO does`,
        LIMIT,
        withRedis([], async (redis, use) => {
            await setUser(redis, without, more);
            const clients = [];
            for (const [kind, url] of [
                ['minnow', urlOf(redis)],
                ['minnow', urlOf(redis)],
                ['node', redis.url],
            ]) {
                const member = await use(startMember(kind, kind, url, mode));
                clients.push(await startClient(member, 'websocket', kind));
            }
            await Promise.all(clients.map((client) => client.join('room')));
            await sleep(300);
            for (const [i, client] of clients.entries()) {
                await client.act('emit', ['room'], [], i);
                const got = () => clients.every((other) => other.got.some(([n]) => n === i));
                await until(() => `event ${i}`, got);
                const [error, sockets] = await client.act('fetch');
                assert.equal(error, 0);
                assert.equal(sockets.length, 3);
                assert.deepEqual((await client.act('server ask', [], [], 1))[1].length, 2);
            }
            clients.forEach((client) => client.close());
        }),
    );

test(
    'a right that is missing is named in one line',
    LIMIT,
    withRedis([], async (redis, use) => {
        await setUser(redis, ['+subscribe']);
        await assert.rejects(startMinnow('--redis', urlOf(redis)), (error) => {
            const line = /ended with 1: minnow: --redis \S+: it refuses a subscription: NOPERM .*'subscribe'.*\n$/;
            assert.match(error.message, line);
            return true;
        });
        for (const [right, line] of [
            ['+publish', /redis: \S+ refuses messages: NOPERM .*'publish'.*\n/],
            ['+psubscribe', /redis: lost \S+.*: it refuses a subscription: NOPERM .*'psubscribe'.*\n/],
        ]) {
            await setUser(redis, [right]);
            const minnow = await use(startMinnow('--redis', urlOf(redis)));
            const client = io(`${minnow.http}/chat`, { transports: ['websocket'], forceNew: true });
            await once(client, 'connect');
            const got = once(client, 'event');
            client.emit('event', 1);
            await got; // its own clients are served
            await until(() => minnow.log, () => line.test(minnow.log), 20000);
            client.close();
            await minnow.kill();
        }
    }),
);

test(
    'a Redis that does not know HELLO is spoken to in version 2',
    LIMIT,
    withRedis(['--rename-command', 'HELLO', '', '--requirepass', 'pw'], async (redis, use) => {
        const url = `redis://:pw@127.0.0.1:${redis.port}`;
        const a = await connect(await use(startMinnow('--redis', url)));
        const b = await connect(await use(startMinnow('--redis', url)));
        const bus = await use(startBus(url));

        bus.say('sub x');
        await bus.expect('up\n');
        await sleep(2000); // it is asked whether it is there meanwhile
        bus.say('count x');
        await bus.expect('count 1\n');
        assert.equal(bus.out, 'up\ncount 1\n');
        a.send('hello');
        await b.expect(['hello']);
    }),
);

test(
    'channels, patterns, shards and counts',
    LIMIT,
    withRedis([], async (redis, use) => {
        const [a, b] = [await use(startBus(redis.url)), await use(startBus(redis.url))];

        await a.expect('up\n');
        await b.expect('up\n');
        for (const bus of [a, b]) bus.say('sub one');
        a.say('psub o*');
        a.say('ssub shard');
        await sleep(300);
        b.say('pub one 1');
        b.say('pub other 2');
        b.say('spub shard 3');
        b.say('count one');
        b.say('scount shard');
        b.say('count none');
        await b.expect('count 2\ncount 1\ncount 0\n');
        await a.expect('message shard 3\n');
        await a.expect('message other 2\n');
        assert.equal(a.out.match(/message one 1\n/g).length, 2); // as a channel and by the pattern
        assert.equal(b.out.match(/message one 1\n/g).length, 1); // one's own come back
    }),
);

test(
    'a subscriber over the limit of its output is ended, and comes back',
    LIMIT,
    withRedis(['--client-output-buffer-limit', 'pubsub 1mb 0 0'], async (redis, use) => {
        const minnow = await use(startMinnow('--redis', redis.url));
        const bus = await use(startBus(redis.url));

        bus.say('sub flood');
        await bus.expect('up\n');
        bus.signal('SIGSTOP');
        for (let i = 0; i < 40; i++) await redis.command(['PUBLISH', 'flood', 'x'.repeat(500000)]);
        bus.signal('SIGCONT');
        await bus.expect('down\nup\n');
        await redis.command(['PUBLISH', 'flood', 'after']);
        await bus.expect('after\n');
        assert.match(bus.log, /lost .*: it closed the connection/);
        assert.equal(minnow.log, ''); // nobody else noticed
    }),
);

test(
    'of several the one is used that is no replica, and the next one after a failover',
    LIMIT,
    withRedis([], async (first, use) => {
        const second = await use(startRedis('--replicaof', `127.0.0.1 ${first.port}`));
        const urls = ['--redis', second.url, '--redis', first.url];
        const clients = async (redis) =>
            (await redis.command(['CLIENT', 'LIST'])).match(/ name=minnow /g)?.length ?? 0;
        const [one, two] = [await use(startMinnow(...urls)), await use(startMinnow(...urls))];
        const [a, b] = [await connect(one), await connect(two)];

        assert.equal(await clients(first), 4);
        await second.command(['REPLICAOF', 'NO', 'ONE']);
        await first.stop('SIGKILL');
        await until(() => one.log, () => one.log.includes(`connected to 127.0.0.1:${second.port}`));
        await until(() => two.log, () => two.log.includes(`connected to 127.0.0.1:${second.port}`));
        assert.equal(await clients(second), 4);
        a.send('hello');
        await b.expect(['hello']);
    }),
);
