// SPDX-License-Identifier: MIT
//
// Start the program on a free port, know where it listens, and stop it as a person does: by Ctrl-C.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';

const PROGRAM = process.env.MINNOW ?? fileURLToPath(new URL('../../minnow', import.meta.url));
const STARTS_WITHIN = 30000;
const ENDS_WITHIN = 30000;

// Of each test. Generous, since a machine may be busy with something else; a test takes about 1 s.
export const LIMIT = { timeout: 120000 };

function within(promise, ms, what) {
    let timer;
    const late = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`${what} within ${ms} ms`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A running minnow: { http, ws } addresses without the slash at their end, host, port, pid, and all
// that it has logged so far.
export async function startMinnow(...args) {
    const child = spawn(PROGRAM, ['--port', '0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(child, 'exit');
    const minnow = { log: '' };

    child.stderr.setEncoding('utf8').on('data', (text) => {
        minnow.log += text;
    });
    const lines = createInterface({ input: child.stdout });
    const first = await within(
        Promise.race([
            once(lines, 'line').then(([line]) => line),
            ended.then(([code]) => {
                throw new Error(`minnow ended with ${code}: ${minnow.log}`);
            }),
        ]),
        STARTS_WITHIN,
        'minnow prints its address',
    );
    const [, http, host, port, ws] =
        /^minnow: (?:chat|echo) on (http:\/\/(.*):(\d+))\/ \((ws:\/\/.*)\/\)$/.exec(first);

    // Once: a second Ctrl-C is for the impatient.
    let interrupted = false;
    minnow.interrupt = () => {
        if (!interrupted) child.kill('SIGINT');
        interrupted = true;
    };
    minnow.ended = async () => {
        const [code, signal] = await within(ended, ENDS_WITHIN, 'minnow ends');
        return signal ?? code;
    };
    minnow.kill = () => {
        child.kill('SIGKILL');
    };
    return Object.assign(minnow, { http, ws, host, port: Number(port), pid: child.pid });
}

// The processes that serve for it, and how many descriptors one of them has.
export function workersOf(minnow) {
    const pids = readFileSync(`/proc/${minnow.pid}/task/${minnow.pid}/children`, 'utf8').trim();
    return pids === '' ? [] : pids.split(' ').map(Number);
}

export function descriptorsOf(pid) {
    return readdirSync(`/proc/${pid}/fd`).length;
}

// A test's function: run `body` with a minnow of its own, which must then end with 0 on SIGINT. When
// the test's time is up minnow is killed, so that nothing waits for it any longer.
export function withMinnow(args, body) {
    return async (t) => {
        const minnow = await startMinnow(...args);
        t.signal.addEventListener('abort', minnow.kill);
        try {
            await body(minnow);
            minnow.interrupt();
            assert.equal(await minnow.ended(), 0, `exit code; log:\n${minnow.log}`);
        } finally {
            minnow.kill();
        }
    };
}
