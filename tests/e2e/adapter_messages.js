// SPDX-License-Identifier: MIT
//
// All messages that Node's adapters and its emitter publish, each with the channel: what they would
// send to Redis goes to functions here instead. Random ids are replaced, so that each run gives the same.
// Alone it prints them, for socketio/tests/test_sio_adapter.c.
import { pathToFileURL } from 'node:url';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';

const later = () => new Promise((resolve) => setTimeout(resolve, 5));

// A client of Redis whose messages are kept; 2 servers are always there.
function fakeRedis(messages) {
    const publish = async (channel, data) => {
        messages.push({ channel, data: Buffer.from(data) });
        return 1;
    };
    const subscriptions = new Map();
    const subscribe = async (channels, listener) => {
        for (const channel of [channels].flat()) subscriptions.set(channel, listener);
    };
    return {
        publish,
        sPublish: publish,
        pSubscribe: subscribe,
        sSubscribe: subscribe,
        subscribe,
        sendCommand: async () => ['', '2'],
        on() {},
        listenerCount: () => 2,
        // As if another server had published it.
        receive: (channel, data) =>
            subscriptions.get(channel)(Buffer.from(data), Buffer.from(channel)),
    };
}

function start(createIt) {
    const messages = [];
    const redis = fakeRedis(messages);
    const io = new Server(createServer(), { adapter: createIt(redis) });
    return { io, redis, messages };
}

// Each call whose message others get.
async function callAll(io) {
    io.emit('hello', 1, 'two', { three: [null, true, -0.5] });
    io.to('room1').emit('hello');
    io.to(['a', 'b']).except('c').volatile.compress(false).emit('bin', Buffer.from([1, 2]), 3);
    io.of('/chat').to('ab').emit('x');
    io.timeout(1000).emit('ask', 5, () => {});
    io.in('a').timeout(1000).emit('ask', Buffer.from([7]), () => {});
    io.socketsJoin(['r1', 'r2']);
    io.in('a').except('b').socketsLeave('r1');
    io.in('a').disconnectSockets(true);
    io.disconnectSockets();
    io.in('a').fetchSockets().catch(() => {});
    io.serverSideEmit('ping', 1, { a: 'b' });
    io.serverSideEmit('ping', 'x', () => {});
    await later();
    for (const adapter of [io.of('/').adapter]) {
        adapter.allRooms?.().catch(() => {});
        if (adapter.sockets !== undefined) adapter.sockets(new Set(['a'])).catch?.(() => {});
    }
    await later();
}

// What a server answers to requests of others, without any client of its own.
async function answerAll(io, redis, sharded) {
    io.on('ping', (arg, answer) => answer({ got: arg }));
    const adapter = io.of('/').adapter;
    const opts = { rooms: [], except: [], flags: { timeout: 1000 } };
    const packet = { type: 2, data: ['ask'] };
    const requests = sharded
        ? [
              { type: 3, data: { packet, opts, requestId: 'rq1' } },
              { type: 7, data: { opts, requestId: 'rq2' } },
              { type: 9, data: { packet: ['ping', 1], requestId: 'rq3' } },
          ].map((request) => ({ ...request, uid: 'me', nsp: '/' }))
        : [
              { type: 7, packet, opts, requestId: 'rq1' },
              { type: 5, opts, requestId: 'rq2' },
              { type: 6, data: ['ping', 1], requestId: 'rq3' },
              { type: 0, rooms: [], requestId: 'rq4' },
              { type: 1, requestId: 'rq5' },
          ].map((request) => ({ ...request, uid: 'me' }));
    for (const request of requests) {
        redis.receive(
            sharded ? 'socket.io#/#' : 'socket.io-request#/#',
            JSON.stringify(request),
        );
        await later();
    }
    return adapter;
}

function emitterMessages() {
    const messages = [];
    const emitter = new Emitter(fakeRedis(messages));
    emitter.emit('hello', 1);
    emitter.to('a').except('b').volatile.emit('bin', Buffer.from([9]));
    emitter.of('/chat').emit('x');
    emitter.in('a').socketsJoin('r1');
    emitter.socketsLeave(['r1', 'r2']);
    emitter.except('b').disconnectSockets(true);
    emitter.serverSideEmit('ping', 1);
    return messages;
}

// Ids of servers and requests become letters, in the order in which they appear.
function withoutRandom(messages) {
    const names = new Map();
    const known = (id) => {
        if (!names.has(id)) names.set(id, id.replace(/./g, 'abcdefghijklmnop'[names.size]));
        return names.get(id);
    };
    const ids = /(?<=(?:uid|requestId)(?:":"|\xa6|\xb0))[\w-]{6}(?:[0-9a-f]{10})?(?!\w)|(?<=^\x93\xa6)[\w-]{6}/g;
    return messages.map(({ channel, data }) => {
        let text = data.toString('latin1').replace(ids, (id) => (id === 'emitter' ? id : known(id)));
        return { channel, data: Buffer.from(text, 'latin1') };
    });
}

export async function classicMessages() {
    const { io, redis, messages } = start((redis) => createAdapter(redis, redis));
    await callAll(io);
    await answerAll(io, redis, false);
    return withoutRandom([...messages, ...emitterMessages()]);
}

export async function shardedMessages() {
    const { io, redis, messages } = start((redis) => createShardedAdapter(redis, redis));
    await callAll(io);
    await answerAll(io, redis, true);
    return withoutRandom(messages);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
    for (const { channel, data } of [...(await classicMessages()), ...(await shardedMessages())])
        console.log(channel, data[0] === 0x7b ? data.toString() : data.toString('hex'));
    process.exit(0);
}
