// SPDX-License-Identifier: MIT
//
// minnow and Node in one cluster over a real Redis: two servers of each, those of minnow with two
// workers, with clients on polling, on WebSocket, and with an upgrade. Each call of each server has
// the same effect on the clients of all, and the same answers.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createClient } from 'redis';
import { Emitter } from '@socket.io/redis-emitter';
import { Cluster, startClient, startMember } from './cluster.js';
import { descriptorsOf, LIMIT, startMinnow, workersOf } from './minnow.js';
import { sleep, startRedis, until } from './redis.js';

const SUBSCRIBED = 200; // ms until a new room has its channel, with shards
const ORDERED = 500;

const ofA = (label) => label.includes('-a-'); // they are in the room a
const to = (labels, ...args) => Object.fromEntries(labels.map((label) => [label, [args]]));

// With "msgpack" servers and clients have socket.io-msgpack-parser, and the servers speak with each
// other as in the classic mode.
for (const mode of ['classic', 'private', 'sharded', 'msgpack']) {
    const it = (what, body) => test(`${mode}: ${what}`, LIMIT, body);

    describe(`a cluster, ${mode}`, () => {
        let c;

        before(async () => {
            c = await Cluster.start(mode);
            for (const client of c.clients) {
                if (ofA(client.label)) await client.join('a');
                if (client.label.endsWith('polling')) await client.join('polling');
            }
            await sleep(SUBSCRIBED);
        }, LIMIT);
        after(() => c.end());

        it('each process has a client', () => {
            assert.deepEqual(
                [...new Set(c.clients.map(({ pid }) => pid))].sort(),
                [...c.pids].sort(),
            );
        });

        it('events reach all clients, and nobody twice', async () => {
            for (const caller of c.callers) {
                const args = [caller.label, { deep: [null, 'ä🐟', -1.5, 2 ** 40] }];
                assert.deepEqual(
                    await c.effect(caller, 'emit', [], [], ...args),
                    to(c.labels(), ...args),
                );
            }
        });

        it('events reach rooms, without those who are excepted', async () => {
            const a = (client) => ofA(client.label);
            const polling = (client) => client.label.endsWith('polling');
            for (const caller of c.callers) {
                const effect = (...action) => c.effect(caller, ...action, caller.label);
                const expected = (filter) => to(c.labels(filter), caller.label);
                assert.deepEqual(await effect('emit', ['a'], []), expected(a));
                assert.deepEqual(
                    await effect('emit', ['a', 'polling'], []),
                    expected((client) => a(client) || polling(client)),
                );
                assert.deepEqual(
                    await effect('emit', ['a'], ['polling']),
                    expected((client) => a(client) && !polling(client)),
                );
                assert.deepEqual(
                    await effect('emit', [], ['a', 'polling']),
                    expected((client) => !a(client) && !polling(client)),
                );
                assert.deepEqual(await effect('emit', ['nobody'], []), {});
                assert.deepEqual(
                    await effect('broadcast', [], []),
                    expected((client) => client !== caller),
                );
                assert.deepEqual(
                    await effect('broadcast', ['a'], []),
                    expected((client) => a(client) && client !== caller),
                );
                assert.deepEqual(
                    await effect('local', [], []),
                    expected(({ pid }) => pid === caller.pid),
                );
            }
        });

        it('events reach one socket by its id', async () => {
            for (const caller of c.callers)
                for (const client of c.clients)
                    assert.deepEqual(
                        await c.effect(caller, 'emit', [client.id], [], 'you'),
                        to([client.label], 'you'),
                    );
        });

        it('volatile events reach those who can take them', async () => {
            await sleep(200); // until all polls are there
            for (const caller of c.callers) {
                const effect = await c.effect(caller, 'volatile', [], [], 'maybe');
                for (const client of c.clients)
                    if (!client.label.endsWith('polling') && client !== caller)
                        assert.deepEqual(effect[client.label], [['maybe']]);
            }
        });

        it('binary values reach all', async () => {
            const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 256));
            for (const caller of c.callers)
                assert.deepEqual(
                    await c.effect(caller, 'emit', [], [], bytes, { in: [Buffer.alloc(0)] }, 1),
                    to(c.labels(), bytes, { in: [Buffer.alloc(0)] }, 1),
                );
        });

        it('the order of each server is kept', async () => {
            const sending = c.callers.map(async (caller) => {
                for (let i = 0; i < ORDERED; i++)
                    caller.act('emit', i % 3 === 0 ? ['a'] : [], [], caller.label, i);
                await caller.act('emit', [], [], caller.label, ORDERED);
            });
            await Promise.all(sending);
            await until('all events', () =>
                c.clients.every(
                    ({ got }) => got.filter(([, i]) => i === ORDERED).length === c.callers.length,
                ),
            );
            for (const client of c.clients) {
                for (const caller of c.callers) {
                    const numbers = client.got
                        .filter(([label]) => label === caller.label)
                        .map(([, i]) => i);
                    const all = Array.from({ length: ORDERED + 1 }, (_, i) => i);
                    const inRoom = ofA(client.label);
                    assert.deepEqual(
                        numbers,
                        inRoom ? all : all.filter((i) => i % 3 !== 0 || i === ORDERED),
                    );
                }
                client.got = [];
            }
        });

        it('acknowledgements come from the clients of all servers', async () => {
            const asked = c.labels(({ label }) => ofA(label) && !label.endsWith('polling'));
            for (const caller of c.callers) {
                const [error, answers] = await caller.act('ask', [], [], 7);
                assert.equal(error, 0);
                assert.deepEqual(answers.sort(), c.labels().map((label) => `${label}:7`).sort());
                const [, some] = await caller.act('ask', ['a'], ['polling'], 'x');
                assert.deepEqual(some.sort(), asked.map((label) => `${label}:x`).sort());
                assert.deepEqual(await caller.act('ask', ['nobody'], [], 1), [0, []]);
                const [, binary] = await caller.act('ask', ['a'], ['polling'], Buffer.from([1]));
                assert.deepEqual(
                    binary.map((bytes) => Buffer.from(bytes).toString()).sort(),
                    asked.sort(),
                );
            }
        });

        it('a client that does not answer costs the timeout', async () => {
            for (const silent of [c.client('minnow-a-polling'), c.client('node-b-upgrade')]) {
                silent.answers = false;
                for (const caller of c.callers) {
                    const [error, answers] = await caller.act('ask briefly', [], [], 7);
                    const others = c.clients.filter((client) => client !== silent);
                    assert.equal(error, -16);
                    assert.deepEqual(
                        answers.sort(),
                        others.map(({ label }) => `${label}:7`).sort(),
                    );
                }
                silent.answers = true;
            }
        });

        it('sockets of all servers are told, with what is known of them', async () => {
            for (const caller of c.callers) {
                const [error, sockets] = await caller.act('fetch');
                assert.equal(error, 0);
                assert.equal(sockets.length, c.clients.length);
                for (const client of c.clients) {
                    const found = sockets.filter(({ id }) => id === client.id);
                    assert.equal(found.length, 1, `${client.label} for ${caller.label}`);
                    const [{ rooms, data, handshake }] = found;
                    const expected = [client.id];
                    if (ofA(client.label)) expected.push('a');
                    if (client.label.endsWith('polling')) expected.push('polling');
                    assert.deepEqual(rooms.sort(), expected.sort());
                    assert.deepEqual(data, { server: client.member.name });
                    assert.deepEqual(handshake.auth, { label: client.label });
                    assert.equal(handshake.query.from, client.label);
                    assert.equal(handshake.query.EIO, '4');
                    assert.match(handshake.address, /127\.0\.0\.1$/);
                    assert.match(handshake.url, /^\/socket\.io\/\?.*from=/);
                    assert.ok(Math.abs(Date.now() - handshake.issued) < 600000);
                    assert.ok(Math.abs(Date.parse(handshake.time) - handshake.issued) < 2000);
                    assert.equal(handshake.secure, false);
                    assert.deepEqual(
                        Object.keys(handshake),
                        'headers time address xdomain secure issued url query auth'.split(' '),
                    );
                }
                const [, some] = await caller.act('fetch', ['a'], ['polling']);
                assert.deepEqual(
                    some.map(({ id }) => id).sort(),
                    c.clients
                        .filter(({ label }) => ofA(label) && !label.endsWith('polling'))
                        .map(({ id }) => id)
                        .sort(),
                );
                assert.deepEqual(await caller.act('fetch', ['nobody']), [0, []]);
            }
        });

        if (mode !== 'sharded')
            it('rooms of all servers are told', async () => {
                const expected = ['a', 'polling', ...c.clients.map(({ id }) => id)].sort();
                for (const caller of c.callers) {
                    const [error, rooms] = await caller.act('rooms');
                    assert.equal(error, 0);
                    assert.deepEqual(rooms.sort(), expected);
                }
            });

        it('sockets of all servers join and leave', async () => {
            const inRoom = ({ label }) => ofA(label) && !label.endsWith('polling');
            const leaver = c.client('node-a-websocket');
            for (const caller of c.callers) {
                const room = `of ${caller.label}`;
                await caller.act('join all', ['a'], ['polling'], room);
                await c.barrier(caller);
                await sleep(mode === 'sharded' ? SUBSCRIBED : 0);
                for (const other of c.callers)
                    assert.deepEqual(
                        await c.effect(other, 'emit', [room], [], 'in'),
                        to(c.labels(inRoom), 'in'),
                        `${caller.label}, ${other.label}`,
                    );
                await caller.act('leave all', [leaver.id], [], room);
                await c.barrier(caller);
                for (const other of c.callers)
                    assert.deepEqual(
                        await c.effect(other, 'emit', [room], [], 'left'),
                        to(c.labels((client) => inRoom(client) && client !== leaver), 'left'),
                    );
                await caller.act('leave all', [], [], room);
                await c.barrier(caller);
                assert.deepEqual(await c.effect(caller, 'emit', [room], [], 'gone'), {});
            }
        });

        it('servers speak with each other', async () => {
            for (const caller of c.callers) {
                await caller.act('server emit', [], [], caller.label, { x: [1] });
                const others = c.clients.filter(({ pid }) => pid !== caller.pid);
                await until('notes', () => others.every(({ noted }) => noted.length > 0));
                await c.barrier(caller);
                for (const client of c.clients) {
                    const expected = others.includes(client) ? [[caller.label, { x: [1] }]] : [];
                    assert.deepEqual(client.noted, expected);
                    client.noted = [];
                }
                const [error, answers] = await caller.act('server ask', [], [], { n: 5 });
                assert.equal(error, 0);
                assert.deepEqual(
                    answers.sort((a, b) => a.pid - b.pid),
                    c.pids
                        .filter((pid) => pid !== caller.pid)
                        .sort((a, b) => a - b)
                        .map((pid) => ({ pid, got: { n: 5 } })),
                );
            }
        });

        it('namespaces are apart, also those that clients open', async () => {
            for (const nsp of ['/chat', '/dyn-1']) {
                const inside = [];
                for (const member of c.members)
                    inside.push(await startClient(member, 'websocket', member.name, nsp));
                await sleep(SUBSCRIBED);
                for (const caller of inside) {
                    await caller.act('emit', [], [], caller.label);
                    await until(nsp, () => inside.every(({ got }) => got.length > 0));
                    for (const client of inside) {
                        assert.deepEqual(client.got, [[caller.label]]);
                        client.got = [];
                    }
                }
                const [, sockets] = await inside[0].act('fetch');
                assert.equal(sockets.length, inside.length);
                for (const client of inside) client.close();
            }
            for (const client of c.clients) assert.deepEqual(client.got, []);
        });

        it('sockets of all servers are disconnected', async () => {
            for (const caller of c.callers) {
                const leaving = [];
                for (const member of c.members)
                    leaving.push(await startClient(member, 'websocket', member.name));
                for (const client of leaving) await client.join('leaving');
                const gone = leaving.map(
                    ({ socket }) => new Promise((resolve) => socket.once('disconnect', resolve)),
                );
                await caller.act('disconnect all', ['leaving'], [], caller === c.callers[0]);
                for (const reason of await Promise.all(gone))
                    assert.equal(reason, 'io server disconnect');
                const [, sockets] = await caller.act('fetch');
                assert.equal(sockets.length, c.clients.length);
                for (const client of c.clients) client.got = [];
            }
        });

        it('a server that stands still costs its caller the timeout alone', async () => {
            const callers = [c.callers[0], c.callers[2]];
            for (const still of [c.members[1], c.members[3]]) {
                const awake = c.clients.filter(({ member }) => member !== still);
                still.signal('SIGSTOP');
                const asked = callers.map((caller) => caller.act('fetch'));
                for (const caller of callers) await c.barrier(caller, awake); // goes on meanwhile
                for (const [error] of await Promise.all(asked)) assert.equal(error, -16);
                still.signal('SIGCONT');
                for (const caller of callers) await c.barrier(caller);
                for (const client of c.clients) client.got = [];
            }
        });

        it('a server that dies is forgotten', async () => {
            for (const kind of ['minnow', 'node']) {
                const member = await startMember(kind, 'dying', c.redis.url, mode);
                await sleep(100);
                const [, before] = await c.callers[0].act('server ask', [], [], 1);
                assert.equal(before.length, c.pids.length);
                await member.kill();
                await sleep(100);
                for (const caller of c.callers) {
                    const [error, answers] = await caller.act('server ask', [], [], 1);
                    assert.equal(error, 0);
                    assert.equal(answers.length, c.pids.length - 1);
                }
            }
        });

        it('without Redis each server goes on alone, and finds the others again', async () => {
            const minnows = c.members.filter(({ kind }) => kind === 'minnow');
            const all = (line, count) =>
                until(line, () => minnows.every((m) => m.count(line) === count * m.pids.length));
            await c.redis.stop('SIGKILL');
            await all('bus down', 1);
            for (const caller of c.callers.slice(0, 2)) {
                const own = c.clients.filter(({ pid }) => pid === caller.pid);
                await c.barrier(caller, own);
            }
            const [error] = await c.callers[0].act('fetch');
            assert.notEqual(error, 0);
            await c.redis.start();
            await all('bus up', 2);
            await until('all servers', async () => {
                const [error, answers] = await c.callers[0].act('server ask', [], [], 1);
                return error === 0 && answers.length === c.pids.length - 1;
            });
            for (const client of c.clients) client.got = [];
            for (const caller of c.callers)
                assert.deepEqual(
                    await c.effect(caller, 'emit', [], [], 'again'),
                    to(c.labels(), 'again'),
                );
        });
    });
}

test('the emitter of npm reaches the clients of all servers', LIMIT, async () => {
    const c = await Cluster.start('classic');
    const redis = createClient({ url: c.redis.url });
    try {
        await redis.connect();
        const emitter = new Emitter(redis);
        for (const client of c.clients)
            if (client.label.endsWith('polling')) await client.join('polling');
        const effect = async (act) => {
            await act();
            await sleep(50);
            const all = await c.barrier(c.callers[0]);
            return Object.fromEntries(all.filter(([, got]) => got.length > 0));
        };
        const polling = c.labels(({ label }) => label.endsWith('polling'));
        const others = c.labels(({ label }) => !label.endsWith('polling'));
        assert.deepEqual(
            await effect(() => emitter.emit('event', 1, Buffer.from([2]))),
            to(c.labels(), 1, Buffer.from([2])),
        );
        assert.deepEqual(await effect(() => emitter.to('polling').emit('event')), to(polling));
        assert.deepEqual(await effect(() => emitter.except('polling').emit('event')), to(others));
        emitter.in('polling').socketsJoin(['new', 'newer']);
        assert.deepEqual(await effect(() => emitter.to('newer').emit('event')), to(polling));
        emitter.socketsLeave('new');
        assert.deepEqual(await effect(() => emitter.to('new').emit('event')), {});
        emitter.serverSideEmit('note', 'from outside');
        await until('notes', () => c.clients.every(({ noted }) => noted.length === 1));
        const gone = c.clients.map(
            ({ socket }) => new Promise((resolve) => socket.once('disconnect', resolve)),
        );
        emitter.disconnectSockets(true);
        await Promise.all(gone);
    } finally {
        await redis.close();
        await c.end();
    }
});

// The chat of the program: an event of a client goes to all clients of its namespace.
async function chat(node, clients) {
    const expectAll = async (...args) => {
        await until('the event', () => clients.every(({ got }) => got.length > 0));
        await sleep(20); // what comes twice comes by then
        for (const client of clients) assert.deepEqual(client.got.splice(0), [args]);
    };
    for (const client of clients) {
        if (client.member === node) continue;
        client.socket.emit('event', client.id, Buffer.from([1]));
        await expectAll(client.id, Buffer.from([1]));
    }
    const ofNode = clients.find(({ member }) => member === node);
    await ofNode.act('emit', [], [], 'from Node');
    await expectAll('from Node');
    const [error, sockets] = await ofNode.act('fetch');
    assert.equal(error, 0);
    assert.deepEqual(sockets.map(({ id }) => id).sort(), clients.map(({ id }) => id).sort());
}

for (const workers of [1, 2])
    test(`the program with ${workers} workers and Node are one chat`, LIMIT, async () => {
        const redis = await startRedis();
        const programs = [];
        for (let i = 0; i < 2; i++)
            programs.push(await startMinnow('--redis', redis.url, '--workers', `${workers}`));
        const node = await startMember('node', 'node', redis.url, 'classic');
        const clients = [];
        const pids = programs.flatMap(workersOf);
        const descriptors = pids.map(descriptorsOf);
        try {
            for (const member of [...programs, node])
                for (const transport of ['websocket', 'polling', 'upgrade'])
                    for (let i = 0; i < 2; i++)
                        clients.push(await startClient(member, transport, 'client', '/chat'));
            await sleep(SUBSCRIBED);
            await chat(node, clients);
            pids.forEach((pid, i) => assert.ok(descriptorsOf(pid) > descriptors[i])); // of clients
        } finally {
            for (const client of clients) client.close();
            for (const program of programs) program.interrupt();
            for (const program of programs) assert.equal(await program.ended(), 0);
            await node.kill();
            await redis.release();
        }
    });
