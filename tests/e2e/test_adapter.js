// SPDX-License-Identifier: MIT
//
// Whatever Node's adapters and its emitter publish, we understand: written anew it is the same
// bytes. Only `compress` is left out, since nothing is compressed here, and the emitter has another
// order of members.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import notepack from 'notepack.io';
import { classicMessages, shardedMessages } from './adapter_messages.js';
import { filter } from './filter.js';
import { LIMIT } from './minnow.js';

function source(channel) {
    if (channel.startsWith('socket.io-request#')) return 1;
    return channel.startsWith('socket.io-response#') ? 2 : 0;
}

function decode(data) {
    const message = data[0] === 0x7b ? JSON.parse(data) : notepack.decode(data);
    const opts = message[2] ?? message.opts ?? message.data?.opts;
    delete opts?.flags?.compress;
    return message;
}

async function compare(messages, sourceOf) {
    const lines = messages.map(({ channel, data }) => sourceOf(channel) + data.toString('hex'));
    const ours = await filter('adapter_filter', lines);
    messages.forEach(({ data }, i) => {
        const text = data.toString('latin1');
        if (text.includes('compress') || text.includes('emitter'))
            assert.deepEqual(decode(Buffer.from(ours[i], 'hex')), decode(data));
        else assert.equal(ours[i], data.toString('hex'), text);
    });
}

test('the classic adapter and the emitter are understood', LIMIT, async () => {
    const messages = await classicMessages();
    assert.ok(messages.length > 20);
    await compare(messages, source);
});

test('the sharded adapter is understood', LIMIT, async () => {
    const messages = await shardedMessages();
    assert.ok(messages.length > 12);
    await compare(messages, () => 3);
});
