// SPDX-License-Identifier: MIT
//
// Debian's python3-websockets, over IPv4, IPv6 and a Unix socket.
import { test } from 'node:test';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import assert from 'node:assert/strict';
import { LIMIT, withMinnow } from './minnow.js';

// Not the first python3 of PATH: Debian's package belongs to Debian's python.
const PYTHON = process.env.PYTHON ?? '/usr/bin/python3';
const CLIENT = fileURLToPath(new URL('python_client.py', import.meta.url));
const HAS_IPV6 = Object.values(networkInterfaces())
    .flat()
    .some(({ address }) => address === '::1');

async function python(check, address) {
    const { stdout } = await promisify(execFile)(PYTHON, [CLIENT, check, address]);
    assert.equal(stdout, 'ok\n');
}

test(
    'text and binary of every size, fragments and pings',
    LIMIT,
    withMinnow(['echo'], (minnow) => python('echo', minnow.ws)),
);

test(
    'closing codes and reasons',
    LIMIT,
    withMinnow(['echo', '-v'], async (minnow) => {
        await python('close', minnow.ws);
        assert.match(minnow.log, /closed \/: 1000 ""/);
        assert.match(minnow.log, /closed \/: 4321 "bye"/);
    }),
);

test(
    'refusals',
    LIMIT,
    withMinnow(['echo'], (minnow) => python('refusals', minnow.ws)),
);

test(
    'a hundred clients in a room hear each other',
    LIMIT,
    withMinnow([], (minnow) => python('room', `${minnow.ws}/den`)),
);

test(
    'over IPv6',
    { ...LIMIT, skip: HAS_IPV6 ? false : 'no ::1 here' },
    withMinnow(['echo', '--bind', '::1'], (minnow) => {
        assert.equal(minnow.host, '[::1]');
        return python('echo', minnow.ws);
    }),
);

test('over a Unix socket', LIMIT, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'minnow-'));
    const path = join(folder, 'socket');
    try {
        await withMinnow(['echo', '--bind', '127.0.0.1', '--bind', `unix:${path}`], () =>
            python('echo', `unix:${path}`),
        )(t);
    } finally {
        await rm(folder, { recursive: true });
    }
});
