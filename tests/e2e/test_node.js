// SPDX-License-Identifier: MIT
//
// Node's built-in WebSocket, in a node of its own, since some versions want to be asked for it.
import { test } from 'node:test';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import assert from 'node:assert/strict';
import { LIMIT, withMinnow } from './minnow.js';

const CLIENT = fileURLToPath(new URL('node_client.js', import.meta.url));
const FLAG = '--experimental-websocket';

function flags() {
    if (typeof WebSocket !== 'undefined') return [];
    return process.allowedNodeEnvironmentFlags.has(FLAG) ? [FLAG, '--no-warnings'] : null;
}

test(
    'text, binary, 1 MiB and closing',
    { ...LIMIT, skip: flags() === null ? 'this node has none' : false },
    withMinnow(['echo', '-v'], async (minnow) => {
        const { stdout } = await promisify(execFile)(process.execPath, [
            ...flags(),
            CLIENT,
            minnow.ws,
        ]);
        assert.equal(stdout, 'closed 3003 done\n');
        assert.match(minnow.log, /closed \/: 3003 "done", 5 messages/);
    }),
);
