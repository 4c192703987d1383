// SPDX-License-Identifier: MIT
//
// Our MessagePack beside that of Node's adapters, notepack.io: both make the same bytes of the same
// JSON, and the same JSON of the same bytes.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import notepack from 'notepack.io';
import { filter } from './filter.js';
import { LIMIT } from './minnow.js';

const COUNT = 3000;

// Numbers that can be repeated: a linear congruential generator.
function generator(seed) {
    let state = seed;
    return (below) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
    };
}

function randomNumber(random) {
    const sign = random(2) ? -1 : 1;
    switch (random(4)) {
        case 0:
            return sign * random(300);
        case 1:
            return sign * (2 ** random(64) + random(3) - 1);
        case 2:
            return (sign * random(1e9)) / 1e4;
        default:
            return sign * random(2 ** 32) * 10 ** -(random(300) + 1);
    }
}

function randomText(random) {
    const pieces = ['a', 'B ', '"', '\\', '\n', '\0', '\x7f', 'ä', '€', '🐟', '/', '\u2028'];
    const length = [random(5), random(40), random(300)][random(3)];
    return Array.from({ length }, () => pieces[random(pieces.length)]).join('');
}

function randomValue(random, depth) {
    const kind = random(depth > 5 ? 4 : 6);
    const length = random(8) === 0 ? random(40) : random(4);
    switch (kind) {
        case 0:
            return randomNumber(random);
        case 1:
            return randomText(random);
        case 2:
            return [null, true, false, 0, ''][random(5)];
        case 3:
            return random(1e6);
        case 4:
            return Array.from({ length }, () => randomValue(random, depth + 1));
        default: {
            // a prefix, since JavaScript puts members whose names are numbers first
            const name = () => 'k' + random(1e6) + (random(4) === 0 ? randomText(random) : '');
            const members = Array.from({ length }, () => [name(), randomValue(random, depth + 1)]);
            return Object.fromEntries(members);
        }
    }
}

// Values that JSON has no word for, so only bytes can carry them.
const ONLY_BYTES = [
    new Date(0),
    new Date(1577836800033),
    new Date(-1),
    new Date(8.64e15),
    new Date(-8.64e15),
    new Date(4294967295000),
    new Date(17179869184001),
    Buffer.from([0, 1, 255]),
    { a: [Buffer.alloc(300, 7), new Date(1e12)], b: undefined, c: [undefined] },
    NaN,
    -Infinity,
    new Uint8Array([1, 2]),
];

test('3,000 random values become the same bytes as with notepack.io', LIMIT, async () => {
    const random = generator(1);
    const values = Array.from({ length: COUNT }, () => randomValue(random, 0));
    const ours = await filter('msgpack_filter', values.map((value) => JSON.stringify(value)));
    values.forEach((value, i) => {
        assert.equal(ours[i], notepack.encode(value).toString('hex'), JSON.stringify(value));
    });
});

test('what notepack.io writes becomes what JSON.stringify() makes of it', LIMIT, async () => {
    const random = generator(2);
    const values = [...ONLY_BYTES, ...Array.from({ length: COUNT }, () => randomValue(random, 0))];
    const bytes = values.map((value) => notepack.encode(value));
    const ours = await filter('msgpack_filter', bytes.map((data) => '<' + data.toString('hex')));
    bytes.forEach((data, i) => {
        assert.equal(ours[i], JSON.stringify(notepack.decode(data)));
    });
});

test('old forms of notepack.io are read as it reads them', LIMIT, async () => {
    const old = ['d40000', '92d4000001', 'd7000000016f5e66e800', 'd500ffff', 'c70305010203'];
    const ours = await filter('msgpack_filter', old.map((hex) => '<' + hex));
    old.forEach((hex, i) => {
        const theirs = notepack.decode(Buffer.from(hex, 'hex'));
        assert.equal(ours[i], JSON.stringify(theirs) ?? 'null', hex);
    });
});
