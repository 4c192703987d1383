// SPDX-License-Identifier: MIT
//
// Plain requests by curl: the page's delivery, and HTTP/1.1 around it.
import { test } from 'node:test';
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import assert from 'node:assert/strict';
import { LIMIT, withMinnow } from './minnow.js';

const PAGE = new URL('../../program/web/index.html', import.meta.url);

// One request: { status, headers, body }. A field that comes twice is an array.
async function curl(url, ...args) {
    const { stdout } = await promisify(execFile)('curl', [
        '-q',
        '-sS',
        '-i',
        '--max-time',
        '60',
        ...args,
        url,
    ]);
    const end = stdout.indexOf('\r\n\r\n');
    const [first, ...lines] = stdout.slice(0, end).split('\r\n');
    const headers = {};
    for (const line of lines) {
        const [, name, value] = /^([^:]+): (.*)$/.exec(line);
        const key = name.toLowerCase();
        headers[key] = key in headers ? [headers[key], value].flat() : value;
    }
    return { status: Number(first.split(' ')[1]), headers, body: stdout.slice(end + 4) };
}

const status = async (...args) => (await curl(...args)).status;

test(
    'GET / is the page, with headers that leave no room for others',
    LIMIT,
    withMinnow([], async (minnow) => {
        const page = await readFile(PAGE, 'utf8');
        const { status, headers, body } = await curl(`${minnow.http}/`);
        assert.equal(status, 200);
        assert.equal(body, page);
        assert.equal(headers['content-type'], 'text/html; charset=utf-8');
        assert.equal(headers['content-length'], String(Buffer.byteLength(page)));
        assert.equal(headers['x-content-type-options'], 'nosniff');
        assert.equal(headers['cache-control'], 'no-cache');
        assert.match(headers.etag, /^"[0-9a-f]{16}"$/);
        assert.match(headers.date, /^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/);

        const policy = headers['content-security-policy'];
        for (const tag of ['script', 'style']) {
            const text = new RegExp(`^<${tag}>(.*?)^</${tag}>`, 'ms').exec(page)[1];
            const hash = createHash('sha256').update(text).digest('base64');
            assert.ok(policy.includes(`${tag}-src 'sha256-${hash}'`), policy);
        }
        assert.match(policy, /default-src 'none'/);
        assert.match(policy, /frame-ancestors 'none'/);
        assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    }),
);

test('in echo mode the page says so, under another ETag', LIMIT, async (t) => {
    const etags = new Set();
    for (const mode of ['chat', 'echo']) {
        await withMinnow([mode], async (minnow) => {
            const { headers, body } = await curl(`${minnow.http}/`);
            assert.ok(body.includes(`<body data-mode="${mode}">`));
            etags.add(headers.etag);
        })(t);
    }
    assert.equal(etags.size, 2);
});

test(
    'HEAD has the head of GET and no body',
    LIMIT,
    withMinnow([], async (minnow) => {
        const [get, head] = [
            await curl(`${minnow.http}/`),
            await curl(`${minnow.http}/`, '--head'),
        ];
        assert.equal(head.status, 200);
        assert.equal(head.body, '');
        assert.deepEqual({ ...head.headers, date: '' }, { ...get.headers, date: '' });
        assert.equal((await curl(`${minnow.http}/nothing`, '--head')).status, 404);
    }),
);

test(
    'who has the page already gets 304',
    LIMIT,
    withMinnow([], async (minnow) => {
        const url = `${minnow.http}/`;
        const {
            headers: { etag, ...full },
        } = await curl(url);
        const ask = (...values) =>
            curl(url, ...values.flatMap((value) => ['-H', `If-None-Match: ${value}`]));

        for (const values of [
            [etag],
            ['*'],
            [`W/${etag}`],
            [`"a", W/"b,c" ,${etag}`],
            [`,, ${etag},`],
            [`"with ${etag.slice(1)}, ${etag}`],
            ['"x"', etag],
        ]) {
            const { status, headers, body } = await ask(...values);
            assert.equal(status, 304, `If-None-Match: ${values}`);
            assert.equal(body, '');
            assert.equal(headers.etag, etag);
            assert.equal(headers['cache-control'], full['cache-control']);
            assert.equal(headers['content-security-policy'], full['content-security-policy']);
            assert.equal('content-type' in headers, false);
        }
        for (const values of [
            ['"x"'],
            [etag.slice(1, -1)],
            ['"x'],
            [`"x${etag}"`],
            ['W/'],
            ['W/*'],
            ['"*"'],
            [etag.toUpperCase().replace(/"$/, 'F"')],
            [`${etag.slice(0, -1)}`],
        ])
            assert.equal((await ask(...values)).status, 200, `If-None-Match: ${values}`);
        assert.equal((await curl(url, '--head', '-H', `If-None-Match: ${etag}`)).status, 304);
    }),
);

test(
    'other paths are 404, other methods 405 with Allow, OPTIONS is answered',
    LIMIT,
    withMinnow([], async (minnow) => {
        for (const path of ['/lobby', '/index.html', '/favicon.ico', '/..%2f', '//', '/%00']) {
            const { status, headers } = await curl(minnow.http + path, '--path-as-is');
            assert.equal(status, 404, path);
            assert.equal(headers['x-content-type-options'], 'nosniff');
        }
        assert.equal(await status(`${minnow.http}/?query=1`), 200);
        for (const method of ['POST', 'PUT', 'DELETE', 'BREW', 'OPTIONS']) {
            const answer = await curl(`${minnow.http}/`, '-X', method);
            assert.equal(answer.status, method === 'OPTIONS' ? 204 : 405, method);
            assert.equal(answer.headers.allow, 'GET, HEAD, OPTIONS');
        }
        assert.equal(await status(`${minnow.http}/`, '-X', 'OPTIONS', '--request-target', '*'), 204);
    }),
);

test(
    'a connection serves request after request',
    LIMIT,
    withMinnow([], async (minnow) => {
        const urls = ['/', '/nothing', '/', '/?again'].map((path) => minnow.http + path);
        const { stdout } = await promisify(execFile)('curl', [
            '-q',
            '-sS',
            '--max-time',
            '60',
            '-o',
            '/dev/null',
            '-o',
            '/dev/null',
            '-o',
            '/dev/null',
            '-o',
            '/dev/null',
            '-w',
            '%{http_code}/%{num_connects} ',
            ...urls,
        ]);
        assert.equal(stdout, '200/1 404/0 200/0 200/0 ');
        const close = await curl(`${minnow.http}/`, '-H', 'Connection: close');
        assert.equal(close.headers.connection, 'close');
        const old = await curl(`${minnow.http}/`, '--http1.0');
        assert.equal(old.status, 200);
        assert.equal(old.headers.connection, 'close');
    }),
);

test(
    'bodies are read, by length and in chunks, and 100 Continue is said',
    LIMIT,
    withMinnow([], async (minnow) => {
        const body = 'b'.repeat(2 << 20);
        const upload = (...args) =>
            promisify(execFile)('curl', [
                '-q',
                '-sS',
                '-v',
                '--max-time',
                '60',
                '-o',
                '/dev/null',
                '-w',
                '%{http_code}/%{num_connects} ',
                ...args,
                '--data-binary',
                '@-',
                `${minnow.http}/`,
                '--next',
                '-sS',
                '-o',
                '/dev/null',
                '-w',
                '%{http_code}/%{num_connects}',
                `${minnow.http}/`,
            ]);
        const run = async (...args) => {
            const pending = upload(...args);
            pending.child.stdin.end(body);
            return pending;
        };

        for (const args of [[], ['-H', 'Transfer-Encoding: chunked']]) {
            const { stdout, stderr } = await run(
                '-H',
                'Expect: 100-continue',
                '--expect100-timeout',
                '20',
                ...args,
            );
            assert.match(stderr, /^< HTTP\/1.1 100 Continue/m);
            assert.equal(
                stdout,
                '405/1 200/0',
                'the whole body was read, so that the connection is of use again',
            );
        }
        assert.equal((await run('-H', 'Expect:')).stdout, '405/1 200/0');
    }),
);

test(
    'a body over the limit is 413',
    LIMIT,
    withMinnow(['--max-message', '1K'], async (minnow) => {
        assert.equal(await status(`${minnow.http}/`, '-d', 'x'.repeat(1024)), 405);
        assert.equal(await status(`${minnow.http}/`, '-d', 'x'.repeat(1025)), 413);
        assert.equal(
            await status(
                `${minnow.http}/`,
                '-H',
                'Transfer-Encoding: chunked',
                '-d',
                'x'.repeat(2000),
            ),
            413,
        );
    }),
);

// The status of the answer to any bytes; the server must then close.
function raw(port, request) {
    return new Promise((resolve, reject) => {
        let answer = '';
        const socket = connect(port, '127.0.0.1', () => socket.write(request));
        socket
            .setEncoding('latin1')
            .setTimeout(20000, () => socket.destroy(new Error(`open after: ${answer}`)));
        socket
            .on('data', (data) => {
                answer += data;
            })
            .on('error', reject);
        socket.on('end', () => resolve(Number(/^HTTP\/1\.1 (\d+) /.exec(answer)?.[1] ?? 0)));
    });
}

test(
    'requests that break the rules are refused, and the next client is served',
    LIMIT,
    withMinnow([], async (minnow) => {
        const head = (...fields) =>
            `GET / HTTP/1.1\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
        const cases = {
            'no Host': [400, head()],
            'two Hosts': [400, head('Host: localhost', 'Host: b')],
            'space before the colon': [400, head('Host: localhost', 'X : y')],
            'folded field': [400, head('Host: localhost', 'X: y', ' z')],
            'two lengths': [400, head('Host: localhost', 'Content-Length: 1', 'Content-Length: 2')],
            'negative length': [400, head('Host: localhost', 'Content-Length: -1')],
            'length and chunks': [
                400,
                head('Host: localhost', 'Content-Length: 1', 'Transfer-Encoding: chunked'),
            ],
            'unknown coding': [501, head('Host: localhost', 'Transfer-Encoding: gzip, chunked')],
            'body without an end': [400, head('Host: localhost', 'Transfer-Encoding: gzip')],
            'no chunk size': [400, `${head('Host: localhost', 'Transfer-Encoding: chunked')}x\r\n`],
            'foreign Host': [421, head('Host: example.org')],
            'not HTTP': [400, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
            'HTTP/2': [505, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
            'long head': [431, head('Host: localhost', ...Array(5).fill(`X: ${'x'.repeat(4000)}`))],
            'many fields': [431, head('Host: localhost', ...Array(100).fill('X: y'))],
            'long target': [414, head('Host: localhost').replace('/', `/${'p'.repeat(8192)}`)],
        };
        for (const [what, [want, request]] of Object.entries(cases)) {
            assert.equal(await raw(minnow.port, request), want, what);
            assert.equal(await status(`${minnow.http}/`), 200, `after ${what}`);
        }
    }),
);

test(
    'opening handshakes that are not in order are refused with a reason',
    LIMIT,
    withMinnow([], async (minnow) => {
        const good = {
            Upgrade: 'websocket',
            Connection: 'Upgrade',
            'Sec-WebSocket-Version': '13',
            'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        };
        const ask = (change) =>
            curl(
                `${minnow.http}/`,
                '--http1.1',
                ...Object.entries({ ...good, ...change })
                    .filter(([, value]) => value !== null)
                    .flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
            );

        const cases = [
            [400, { 'Sec-WebSocket-Key': null }],
            [400, { 'Sec-WebSocket-Key': 'short' }],
            [400, { Connection: 'close' }],
            [426, { 'Sec-WebSocket-Version': '8' }],
            [400, { 'Sec-WebSocket-Version': null }],
            [403, { Origin: 'https://elsewhere.example' }],
            [403, { Origin: 'null' }],
            [200, { Upgrade: 'h2c' }], // not ours, so a plain request
        ];
        const logged = 5; // lines of a kind in a second
        for (const [i, [want, change]] of cases.entries()) {
            const { status, headers, body } = await ask(change);
            assert.equal(status, want, JSON.stringify(change));
            if (want === 200) continue;
            assert.match(body, new RegExp(`^${want} [\\w ]+: .+\n$`));
            if (i < logged) assert.ok(minnow.log.includes(`refused with ${want}`), minnow.log);
            if (want === 426) assert.equal(headers['sec-websocket-version'], '13');
        }
    }),
);
