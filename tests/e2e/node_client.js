// SPDX-License-Identifier: MIT
//
// Echo through Node's built-in WebSocket. Usage: node node_client.js URL
import assert from 'node:assert/strict';

const socket = new WebSocket(process.argv[2]);
socket.binaryType = 'arraybuffer';
const next = (type) =>
    new Promise((resolve, reject) => {
        socket.addEventListener(type, resolve, { once: true });
        socket.addEventListener('error', reject, { once: true });
    });

await next('open');
for (const message of ['', 'häß €uro 🐟', 'x'.repeat(1 << 20)]) {
    socket.send(message);
    assert.equal((await next('message')).data, message);
}
for (const size of [0, 1 << 20]) {
    socket.send(new Uint8Array(size).fill(9));
    const { data } = await next('message');
    assert.deepEqual(new Uint8Array(data), new Uint8Array(size).fill(9));
}
const closed = next('close');
socket.close(3003, 'done');
const { code, reason } = await closed;
console.log(`closed ${code} ${reason}`);
