// SPDX-License-Identifier: MIT
//
// A Redis of a test's own: on a free port, without a disk, ended by its pid.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './sio_server.js';

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// `what` did not happen is a text, or a function that gives it; `condition` may be async.
export async function until(what, condition, ms = 60000) {
    const end = Date.now() + ms;

    while (!(await condition())) {
        if (Date.now() > end)
            throw new Error(`not within ${ms} ms: ${typeof what === 'function' ? what() : what}`);
        await sleep(10);
    }
}

// { port, url, path, command(), start(), stop(signal), release() }
export async function startRedis(...args) {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'minnow-redis-'));
    const path = join(directory, 'redis.sock');
    const redis = { port, path, url: `redis://127.0.0.1:${port}` };
    let child;

    // The answer to one command, as text; `login` is sent before it.
    redis.command = async (words, login = []) => {
        const socket = net.connect(path);
        const encode = (list) =>
            `*${list.length}\r\n${list.map((w) => `$${Buffer.byteLength(w)}\r\n${w}\r\n`).join('')}`;
        let text = '';

        await once(socket, 'connect');
        socket.setEncoding('utf8').on('data', (more) => {
            text += more;
        });
        if (login.length !== 0) socket.write(encode(['AUTH', ...login]));
        socket.write(encode(words) + encode(['ECHO', 'done']));
        await until(() => text, () => text.includes('\r\ndone\r\n'));
        socket.destroy();
        return text.replace(/\$4\r\ndone\r\n$/, '');
    };
    redis.start = async () => {
        const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--unixsocket', path];

        options.push('--save', '', '--appendonly', 'no', '--dir', directory, ...args);
        child = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] });
        let log = '';
        child.stdout.setEncoding('utf8').on('data', (text) => {
            log += text;
        });
        await until(() => log, () => log.includes('eady to accept connections'));
    };
    redis.signal = (signal) => child.kill(signal);
    redis.stop = async (signal = 'SIGTERM') => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill(signal);
        await once(child, 'exit');
    };
    redis.release = async () => {
        await redis.stop('SIGKILL');
        rmSync(directory, { recursive: true, force: true });
    };
    await redis.start();
    return redis;
}
