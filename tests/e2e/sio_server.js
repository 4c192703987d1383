// SPDX-License-Identifier: MIT
//
// Start tests/e2e/sio_server.c and the examples, and end them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BUILD = process.env.BUILD ?? 'build';
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STARTS_WITHIN = 30000;

function start(path, args) {
    const child = spawn(`${ROOT}${BUILD}/${path}`, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const program = { lines: [], child };

    createInterface({ input: child.stdout }).on('line', (line) => {
        program.lines.push(line);
        child.emit('text');
    });
    program.kill = async () => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await once(child, 'exit');
    };
    // The first line of its output that matches.
    program.line = async (pattern) => {
        for (;;) {
            const found = program.lines.find((line) => pattern.test(line));
            if (found !== undefined) return found;
            if (child.exitCode !== null) throw new Error(`${path} ended with ${child.exitCode}`);
            await Promise.race([once(child, 'text'), once(child, 'exit')]);
        }
    };
    return program;
}

// A server at a free port, or at the one given: { http, port, kill }.
export async function startSioServer({ port = 0, recovery = false, msgpack = false } = {}) {
    const args = [String(port), recovery && 'recovery', msgpack && 'msgpack'].filter(Boolean);
    const program = start('tests/e2e/sio_server', args);
    const [, http, listening] = /(http:.*:(\d+))/.exec(await program.line(/listening/));
    return Object.assign(program, { http, port: Number(listening) });
}

export async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

async function answers(port) {
    const socket = connect(port, '127.0.0.1');
    try {
        await once(socket, 'connect');
        return true;
    } catch {
        return false;
    } finally {
        socket.destroy();
    }
}

// An example at a free port, as soon as it is there.
export async function startExample(name) {
    const port = await freePort();
    const program = start(`examples/${name}`, [String(port)]);
    const deadline = Date.now() + STARTS_WITHIN;

    while (!(await answers(port))) {
        if (Date.now() > deadline) throw new Error(`${name} does not answer`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return Object.assign(program, { port });
}
