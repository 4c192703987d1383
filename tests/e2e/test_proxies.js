// SPDX-License-Identifier: MIT
//
// The recipes of docs/cluster.md for several machines: nginx and HAProxy from Debian before two
// minnows and a Redis. A client has an address of its own in 127.0.0.0/8.
import { after, before, describe, test } from 'node:test';
import { once } from 'node:events';
import http from 'node:http';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { io } from 'socket.io-client';
import { startClient as startOwn, startMember } from './cluster.js';
import { LIMIT, startMinnow } from './minnow.js';
import { blockOf, optionsOf, replaced, startProxyOf } from './proxies.js';
import { sleep, startRedis, until } from './redis.js';

const SUBSCRIBED = 300;
const TRANSPORTS = {
    polling: ['polling'],
    websocket: ['websocket'],
    upgrade: ['polling', 'websocket'],
};
const HOST = 'example.org';
const UNKNOWN = '{"code":1,"message":"Session ID unknown"}';

const addressOf = (i) => `127.0.1.${i + 1}`;

// What makes a connection to HOST come from address `i`, and go to this machine.
function fromAddress(i) {
    const lookup = (name, options, done) => {
        assert.equal(name, HOST);
        if (options.all) done(null, [{ address: '127.0.0.1', family: 4 }]);
        else done(null, '127.0.0.1', 4);
    };
    return { localAddress: addressOf(i), lookup };
}

// As the document starts it, behind a proxy at 127.0.0.1.
function startMachine(redis, ...more) {
    const line = optionsOf('./minnow --bind 10.0.0.1').join(' ');
    const options = replaced(line, {
        '10.0.0.1': '127.0.0.1',
        'redis://10.0.0.9': redis.url,
        '10.0.0.8': '127.0.0.1',
    });
    return startMinnow('-v', ...more, ...options.split(' '));
}

// Redis, two machines, one server of Node's that tells who is where, and a proxy.
class Site {
    static all = new Set();

    static async start(kind, words = {}, ...more) {
        const site = new Site();
        site.ends = [];
        Site.all.add(site);
        try {
            site.redis = site.use(await startRedis(), (redis) => redis.release());
            site.machines = [];
            for (let i = 0; i < 2; i++)
                site.machines.push(
                    site.use(await startMachine(site.redis, ...more), (machine) => machine.kill()),
                );
            const servers = Object.fromEntries(
                site.machines.map(({ port }, i) => [`10.0.0.${i + 1}:8080`, `127.0.0.1:${port}`]),
            );
            site.proxy = site.use(await startProxyOf(kind, { ...servers, ...words }), (proxy) =>
                proxy.release(),
            );
            site.node = site.use(
                await startMember('node', 'node', site.redis.url, 'classic'),
                (node) => node.kill(),
            );
        } catch (error) {
            await site.end();
            throw error;
        }
        site.url = `${HOST}:${site.proxy.port}`;
        return site;
    }

    use(thing, release) {
        this.ends.unshift(() => release(thing));
        return thing;
    }

    // All of it, also when something fails to end.
    async end() {
        const [end] = this.ends.splice(0, 1);

        this.over = true;
        if (end === undefined) return;
        try {
            await end();
        } finally {
            await this.end();
        }
    }

    // A plain WebSocket from address `i`, which says that it is another one.
    async connect(i, path = '/room') {
        const socket = new WebSocket(`ws://${this.url}${path}`, {
            ...fromAddress(i),
            origin: `http://${this.url}`,
            headers: { 'X-Forwarded-For': '6.6.6.6' },
        });
        const client = { i, socket, got: [], close: () => socket.terminate() };

        socket.on('error', () => {});
        socket.on('message', (data) => client.got.push(String(data)));
        client.closed = once(socket, 'close');
        client.say = (text) => socket.send(text);
        await once(socket, 'open');
        return this.use(client, client.close);
    }

    startIo(i, transport, options = {}) {
        const agent = new http.Agent({ keepAlive: true, ...fromAddress(i) });
        const socket = io(`http://${this.url}/chat`, {
            forceNew: true,
            transports: TRANSPORTS[transport],
            agent,
            withCredentials: true,
            reconnectionDelay: 100,
            reconnectionDelayMax: 500,
            extraHeaders: { 'X-Forwarded-For': '6.6.6.6' },
            ...options,
        });
        return this.use(watch({ i, transport, socket, agent }), (client) => client.close());
    }

    // Which machine has the plain WebSockets of address `i`?
    machineOf(i) {
        const line = new RegExp(` ${addressOf(i)} opened /room\n`);
        return this.machines.findIndex(({ log }) => line.test(log));
    }

    // Plain WebSockets from address after address, until each machine has two.
    async connectToBoth() {
        const clients = [];
        const count = (machine) => clients.filter(({ i }) => this.machineOf(i) === machine).length;

        while (clients.length < 60 && (count(0) < 2 || count(1) < 2)) {
            const { i } = clients[clients.push(await this.connect(clients.length)) - 1];
            await until(
                () => `${addressOf(i)} in ${this.machines.map(({ log }) => log).join('\n')}`,
                () => this.machineOf(i) >= 0,
                10000,
            );
        }
        assert.ok(count(0) >= 2 && count(1) >= 2, `${count(0)} and ${count(1)}`);
        return clients;
    }
}

function watch(client) {
    const { socket } = client;

    client.got = [];
    client.losses = 0;
    socket.on('event', (...args) => client.got.push(args));
    socket.on('disconnect', () => client.losses++);
    client.say = (text) => socket.emit('event', text, Buffer.from(text));
    client.close = () => {
        socket.close();
        client.agent?.destroy();
    };
    client.connected = () =>
        until(
            () => `${client.transport} of ${addressOf(client.i)}`,
            () =>
                socket.connected &&
                (client.transport !== 'upgrade' ||
                    socket.io.engine.transport.name === 'websocket'),
        );
    return client;
}

// All see what each one says, once.
async function chat(clients, wanted = (text) => text) {
    await sleep(SUBSCRIBED);
    const texts = clients.map((_, n) => `hello ${n}`);

    for (let round = 0; round < 2; round++) {
        clients.forEach((client) => client.got.splice(0));
        clients.forEach((client, n) => client.say(texts[n]));
        await until(
            () => JSON.stringify(clients.map(({ i, got }) => [i, got.length])),
            () => clients.every(({ got }) => got.length >= texts.length),
        );
        await sleep(20); // what comes twice comes by then
        const all = JSON.stringify(texts.map(wanted).sort());
        for (const { got } of clients) assert.equal(JSON.stringify(got.sort()), all);
    }
}

const withBytes = (text) => [text, Buffer.from(text)];

// What the handshakes of the namespace say of addresses, by the id of the socket.
async function addressesSeen(site) {
    const asker = await startOwn(site.node, 'websocket', 'asker', '/chat');

    try {
        const [error, sockets] = await asker.act('fetch');
        assert.equal(error, 0);
        return new Map(sockets.map(({ id, handshake }) => [id, handshake.address]));
    } finally {
        asker.close();
    }
}

// Each session was on one machine, and each machine had some.
function assertSticky({ proxy }, sessions) {
    const servers = new Map();

    for (const { sid, server } of proxy.requests())
        if (sid !== undefined) servers.set(sid, (servers.get(sid) ?? new Set()).add(server));
    assert.ok(servers.size >= sessions, `${servers.size} of ${sessions} sessions`);
    for (const [sid, set] of servers) assert.equal(set.size, 1, `${sid}: ${[...set]}`);
    assert.equal(new Set([...servers.values()].map(([server]) => server)).size, 2);
}

async function startAll(site, addresses) {
    const clients = addresses.flatMap((i) =>
        Object.keys(TRANSPORTS).map((transport) => site.startIo(i, transport)),
    );
    await Promise.all(clients.map((client) => client.connected()));
    return clients;
}

// Without what keeps a session on its machine, as the document says for WebSockets only.
const NOT_STICKY = {
    nginx: { 'hash $remote_addr consistent;': 'least_conn;' },
    haproxy: {
        'cookie MINNOW insert indirect nocache httponly': '',
        'balance roundrobin': 'balance leastconn',
        ' cookie a\n': '\n',
        ' cookie b\n': '\n',
    },
};
// The same, with the machines in turn.
const IN_TURN = {
    nginx: { 'hash $remote_addr consistent;': '' },
    haproxy: { ...NOT_STICKY.haproxy, 'balance roundrobin': 'balance roundrobin' },
};

for (const kind of ['nginx', 'haproxy']) {
    // When the time is up nothing keeps the runner waiting.
    const it = (what, body) =>
        test(`${kind}: ${what}`, LIMIT, async (t) => {
            let running = true; // node aborts the signal at the end of each test, too
            t.signal.addEventListener('abort', () => {
                if (running) Site.all.forEach((site) => site.end());
            });
            try {
                await body();
            } finally {
                running = false;
            }
        });

    describe(kind, () => {
        let site;
        let plain;
        let clients;
        const next = (what, run) =>
            it(what, async () => {
                assert.ok(!site.over, 'the time of a test before this one was up');
                await run();
            });

        before(async () => {
            site = await Site.start(kind);
        }, LIMIT);
        after(() => site?.end());

        next('plain WebSockets on both machines chat', async () => {
            plain = await site.connectToBoth();
            await chat(plain);
        });

        next('Socket.IO clients of all transports on both machines chat', async () => {
            clients = await startAll(site, plain.map(({ i }) => i));
            await chat(clients, withBytes);
            for (const client of clients) assert.equal(client.losses, 0);
        });

        next('the addresses are those of the clients, whatever they say', async () => {
            const seen = await addressesSeen(site);
            for (const { i, socket } of clients) assert.equal(seen.get(socket.id), addressOf(i));
            for (const { log } of site.machines) assert.doesNotMatch(log, /6\.6\.6\.6/);
        });

        next('clients of a machine that ends come back on the other one', async () => {
            const [gone] = site.machines;
            const lost = plain.filter(({ i }) => site.machineOf(i) === 0);
            gone.interrupt();
            assert.equal(await gone.ended(), 0, gone.log);
            await Promise.all(lost.map(({ closed }) => closed));
            await until(
                () => JSON.stringify(clients.map(({ losses }) => losses)),
                () => clients.some(({ losses }) => losses > 0),
            );
            await Promise.all(clients.map((client) => client.connected()));
            await chat(clients, withBytes);
            assert.ok(clients.some(({ losses }) => losses === 0));
            await chat([await site.connect(lost[0].i), plain.find((c) => !lost.includes(c))]);
        });

        next('each session was on one machine', async () => {
            const sessions = clients.filter(({ transport }) => transport !== 'websocket').length;
            for (const client of clients) client.close();
            await sleep(200); // until the last line of the log is there
            assertSticky(site, sessions);
        });
    });

    it('a session that does not stay on its machine is unknown', async () => {
        const site = await Site.start(kind, IN_TURN[kind]);
        try {
            const client = site.startIo(0, 'polling', { reconnection: false });
            const answer = await new Promise((resolve) =>
                client.socket.io.once('close', (reason, { context }) =>
                    resolve(context.responseText),
                ),
            );
            assert.equal(answer, UNKNOWN);
            assert.throws(() => assertSticky(site, 1));
        } finally {
            await site.end();
        }
    });

    it('with WebSockets only any machine will do', async () => {
        const site = await Site.start(kind, NOT_STICKY[kind]);
        try {
            const block = replaced(blockOf('js'), {
                'https://example.org': `http://${site.url}/chat`,
                '{ transports': '{ ...more, transports',
            });
            const make = new Function('io', 'more', `${block}; return socket;`);
            const clients = [0, 0, 1, 1].map((i) => {
                const agent = new http.Agent(fromAddress(i));
                const socket = make(io, { forceNew: true, agent });
                return site.use(watch({ i, transport: 'websocket', socket, agent }), (client) =>
                    client.close(),
                );
            });
            await Promise.all(clients.map((client) => client.connected()));
            await chat(clients, withBytes);
            await chat(await site.connectToBoth());
        } finally {
            await site.end();
        }
    });

    it('a silent client is kept, whose pings come before the timeouts', async () => {
        const site = await Site.start(kind, { '75s': '4s' }, '--ping-interval', '2');
        try {
            const clients = await startAll(site, [0, 1]);
            const plain = await site.connect(0);
            await sleep(9000);
            for (const client of clients) assert.equal(client.losses, 0);
            assert.equal(plain.socket.readyState, WebSocket.OPEN);
            await chat(clients, withBytes);
        } finally {
            await site.end();
        }
    });
}
