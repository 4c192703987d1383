// SPDX-License-Identifier: MIT
//
// The same as cluster_server.c, on Node: node cluster_node.js NAME REDIS_URL MODE.
import { createServer } from 'node:http';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import parser from 'socket.io-msgpack-parser';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';

const [name, url, mode] = process.argv.slice(2);
const TIMEOUT = 4000;
const SHORT = 1000;

const pub = createClient({ url });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on('error', () => {});
process.on('unhandledRejection', () => {}); // the adapter publishes without a look at the result
await Promise.all([pub.connect(), sub.connect()]);

const options = { requestsTimeout: TIMEOUT, publishOnSpecificResponseChannel: mode === 'private' };
const adapter =
    mode === 'sharded' ? createShardedAdapter(pub, sub) : createAdapter(pub, sub, options);
const http = createServer();
const io = new Server(http, {
    adapter,
    cors: { origin: '*' },
    ...(mode === 'msgpack' && { parser }),
});

const plain = (value) => (Buffer.isBuffer(value) ? [...value] : (value ?? null));
const described = (s) => ({
    id: s.id,
    rooms: [...s.rooms],
    data: s.data,
    handshake: JSON.parse(JSON.stringify(s.handshake)),
});

// [error, what came], as an acknowledgement.
async function collect(promise) {
    try {
        return [0, await promise];
    } catch (error) {
        return [-16, (error.responses ?? []).map(plain)];
    }
}

const ACTIONS = {
    emit: ({ target, args }) => void target.emit('event', ...args),
    volatile: ({ target, args }) => void target.volatile.emit('event', ...args),
    local: ({ target, args }) => void target.local.emit('event', ...args),
    broadcast({ socket, rooms, except, args }) {
        let target = socket.broadcast;
        if (rooms.length > 0) target = target.to(rooms);
        target.except(except).emit('event', ...args);
    },
    'join all': ({ target, args }) => target.socketsJoin(args[0]),
    'leave all': ({ target, args }) => target.socketsLeave(args[0]),
    'disconnect all': ({ target, args }) => target.disconnectSockets(args[0]),
    'server emit': ({ nsp, args }) => void nsp.serverSideEmit('note', ...args),
    ask: ({ target, args }) =>
        target
            .timeout(TIMEOUT)
            .emitWithAck('question', ...args)
            .then((answers) => answers.map(plain)),
    'ask briefly': ({ target, args }) =>
        target
            .timeout(SHORT)
            .emitWithAck('question', ...args)
            .then((answers) => answers.map(plain)),
    fetch: ({ target }) => target.fetchSockets().then((sockets) => sockets.map(described)),
    rooms: ({ nsp }) => nsp.adapter.allRooms().then((rooms) => [...rooms]),
    pid: () => [process.pid],
    'server ask': ({ nsp, args }) => nsp.serverSideEmitWithAck('ask', ...args),
};

function serve(nsp) {
    nsp.on('connection', (socket) => {
        socket.data.server = name;
        socket.on('join', (room, done) => done(0, [], socket.join(room)));
        socket.on('leave', (room, done) => done(0, [], socket.leave(room)));
        socket.on('do', async (what, rooms, except, ...args) => {
            const done = args.pop();
            let target = nsp.except(except);
            if (rooms.length > 0) target = target.to(rooms);
            const result = ACTIONS[what]({ nsp, socket, target, rooms, except, args });
            const [error, answers] = await collect(Promise.resolve(result));
            done(error, answers ?? []);
        });
    });
    nsp.on('note', (...args) => nsp.local.emit('noted', ...args));
    nsp.on('ask', (got, answer) => answer({ pid: process.pid, got: plain(got) }));
}

serve(io.of('/'));
serve(io.of('/chat'));
io.of(/^\/dyn/);
io.on('new_namespace', serve);
http.listen(0, '127.0.0.1', () => {
    console.log('bus up');
    console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
