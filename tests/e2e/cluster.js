// SPDX-License-Identifier: MIT
//
// A cluster: servers of both kinds, and clients.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import parser from 'socket.io-msgpack-parser';
import { workersOf } from './minnow.js';
import { startRedis, until } from './redis.js';

const BUILD = process.env.BUILD ?? 'build';
const MINNOW = fileURLToPath(new URL(`../../${BUILD}/tests/e2e/cluster_server`, import.meta.url));
const NODE = fileURLToPath(new URL('cluster_node.js', import.meta.url));

async function end(child) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
}

// A server: { name, kind, mode, http, pids, lines, count(), signal(), kill() }. A minnow may be several
// processes.
export async function startMember(kind, name, url, mode, workers = 1) {
    const command = kind === 'node' ? [process.execPath, NODE] : [MINNOW];
    const args = [...command.slice(1), name, url, mode];
    if (kind !== 'node') args.push(`${workers}`);
    const child = spawn(command[0], args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const member = { name, kind, mode, lines: [], kill: () => end(child) };

    createInterface({ input: child.stdout }).on('line', (line) => member.lines.push(line));
    member.count = (line) => member.lines.filter((other) => other === line).length;
    await until(name, () => {
        if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
        const found = member.lines.map((line) => /^listening on (http:.*)/.exec(line)?.[1]);
        member.http = found.find((http) => http !== undefined);
        return member.http !== undefined && member.count('bus up') === workers;
    });
    member.pids = workers === 1 ? [child.pid] : workersOf(child);
    member.signal = (signal) => member.pids.forEach((pid) => process.kill(pid, signal));
    return member;
}

const TRANSPORTS = {
    websocket: ['websocket'],
    polling: ['polling'],
    upgrade: ['polling', 'websocket'],
};

// A client that keeps what it gets, and answers questions with its label. `pid` is that of the
// process that has it.
export async function startClient(member, transport, label, nsp = '/') {
    const socket = io(member.http + nsp, {
        forceNew: true,
        transports: TRANSPORTS[transport],
        auth: { label },
        query: { from: label },
        ...(member.mode === 'msgpack' && { parser }),
    });
    const client = { member, label, socket, got: [], noted: [], answers: true };

    socket.on('event', (...args) => client.got.push(args));
    socket.on('noted', (...args) => client.noted.push(args));
    socket.on('question', (question, answer) => {
        if (!client.answers) return;
        answer(Buffer.isBuffer(question) ? Buffer.from(label) : `${label}:${question}`);
    });
    client.join = (room) => new Promise((resolve) => socket.emit('join', room, resolve));
    client.leave = (room) => new Promise((resolve) => socket.emit('leave', room, resolve));
    // [error, what came]
    client.act = (what, rooms = [], except = [], ...args) =>
        new Promise((resolve) =>
            socket.emit('do', what, rooms, except, ...args, (...answer) => resolve(answer)),
        );
    client.close = () => socket.close();
    await once(socket, 'connect');
    if (transport === 'upgrade')
        await until('the upgrade', () => socket.io.engine.transport.name === 'websocket');
    client.id = socket.id;
    if (member.pids !== undefined) [client.pid] = (await client.act('pid'))[1];
    return client;
}

// Two servers of each kind, those of minnow with two workers each; each server has a client on each
// transport.
export class Cluster {
    static async start(mode) {
        const c = new Cluster();
        c.mode = mode;
        c.redis = await startRedis();
        c.members = [];
        for (const [kind, name] of [
            ['minnow', 'minnow-a'],
            ['minnow', 'minnow-b'],
            ['node', 'node-a'],
            ['node', 'node-b'],
        ])
            c.members.push(
                await startMember(kind, name, c.redis.url, mode, kind === 'minnow' ? 2 : 1),
            );
        c.pids = c.members.flatMap(({ pids }) => pids);
        c.clients = [];
        for (const member of c.members)
            for (const transport of Object.keys(TRANSPORTS))
                c.clients.push(
                    await startClient(member, transport, `${member.name}-${transport}`),
                );
        c.callers = c.members.map((m) => c.clients.find((client) => client.member === m));
        c.barriers = 0;
        return c;
    }

    async end() {
        for (const client of this.clients) client.close();
        for (const member of this.members) await member.kill();
        await this.redis.release();
    }

    // Wait until all clients have all that `caller` has caused so far, and take it.
    async barrier(caller, clients = this.clients) {
        const mark = `barrier ${this.barriers++}`;
        await caller.act('emit', [], [], mark);
        await until(mark, () => clients.every((c) => c.got.some(([first]) => first === mark)));
        return clients.map((client) => {
            const got = client.got.filter(([first]) => first !== mark);
            client.got = [];
            return [client.label, got];
        });
    }

    // What each client got because of it: { label: [[...args]...] }, those who got something.
    async effect(caller, ...action) {
        await caller.act(...action);
        const all = await this.barrier(caller);
        return Object.fromEntries(all.filter(([, got]) => got.length > 0));
    }

    // One client by its label.
    client(label) {
        return this.clients.find((client) => client.label === label);
    }

    labels(filter = () => true) {
        return this.clients.filter(filter).map((client) => client.label);
    }
}
