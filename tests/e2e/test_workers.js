// SPDX-License-Identifier: MIT
//
// --workers under load: restarts, crashes, requests that land on any worker, and browsers.
import { after, before, test } from 'node:test';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { startBrowser } from './browser.js';
import { LIMIT, startMinnow, workersOf } from './minnow.js';
import { sleep, startRedis, until } from './redis.js';

const POLLING_LOAD = fileURLToPath(new URL('../../build/tests/e2e/polling_load', import.meta.url));
const KNOWN_MS = 300; // until all workers know who is in a room

let browser;
let directory;

before(async () => {
    browser = await startBrowser();
    directory = mkdtempSync(join(tmpdir(), 'minnow-workers-'));
});
after(async () => {
    await browser.close();
    rmSync(directory, { recursive: true, force: true });
});

// As withMinnow(), with a Unix socket, too; minnow.path is its file.
function withBoth(args, body) {
    return async (t) => {
        const path = join(directory, `${Math.random()}.sock`);
        const bind = ['--bind', '127.0.0.1', '--bind', `unix:${path}`];
        const minnow = Object.assign(await startMinnow(...bind, ...args), { path });
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

// `count` more lines with `text` than there are.
async function logs(minnow, text, cause) {
    const seen = () => minnow.log.split(text).length;
    const before = seen();

    cause();
    await until(() => minnow.log, () => seen() > before);
}

const restart = (minnow) =>
    logs(minnow, 'new workers serve', () => process.kill(minnow.pid, 'SIGHUP'));

// --- load ----------------------------------------------------------------------------------------

const urls = (minnow, path) => [`${minnow.ws}${path}`, `ws+unix:${minnow.path}:${path}`];

function where(minnow, isUnix) {
    return isUnix ? { socketPath: minnow.path } : { host: '127.0.0.1', port: minnow.port };
}

// One request on a connection of its own, or of `agent`. Resolves to the length of the page.
function get(minnow, isUnix, agent) {
    return new Promise((resolve, reject) => {
        const options = { ...where(minnow, isUnix), agent: agent ?? false };
        const request = http.get(options, (response) => {
            let len = 0;

            response.on('data', (data) => {
                len += data.length;
            });
            response.on('error', reject);
            response.on('end', () =>
                response.complete && response.statusCode === 200
                    ? resolve(len)
                    : reject(new Error(`status ${response.statusCode}`)),
            );
        });
        request.on('error', reject);
    });
}

// A WebSocket that says three things in a room of its own, hears them and closes.
function visit(url, id) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(`${url}-${id}`);
        const got = [];

        socket.on('error', reject);
        socket.on('open', () => ['1', '2', '3'].forEach((text) => socket.send(text)));
        socket.on('message', (data) => {
            if (got.push(String(data)) === 3) socket.close(1000);
        });
        socket.on('close', (code) =>
            code === 1000 && got.join() === '1,2,3'
                ? resolve()
                : reject(new Error(`closed with ${code} after ${got}`)),
        );
    });
}

// Clients that come and go until `stop` is called, which resolves to how many there were of each
// kind. Each failure is kept.
function startVisitors(minnow) {
    const failures = [];
    const counts = {};
    let going = true;
    const loop = async (name, once) => {
        for (let i = 0; going; i++) {
            try {
                await once(`${name}-${i}`);
                counts[name] = (counts[name] ?? 0) + 1;
            } catch (error) {
                failures.push(`${name}: ${error.code ?? ''} ${error.message}`);
            }
        }
    };
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const [tcp, unix] = urls(minnow, '/visit');
    const loops = [
        loop('page', () => get(minnow, false)),
        loop('page by Unix socket', () => get(minnow, true)),
        loop('page, keep-alive', () => get(minnow, false, agent)),
        ...[0, 1].map((i) => loop(`visit${i}`, (id) => visit(tcp, id.replaceAll(' ', '')))),
        ...[0, 1].map((i) => loop(`unix${i}`, (id) => visit(unix, id.replaceAll(' ', '')))),
    ];
    return {
        failures,
        counts,
        loops: loops.length,
        stop: async () => {
            going = false;
            await Promise.all(loops);
            agent.destroy();
        },
    };
}

// A client that stays, and says its numbers all the time.
async function startResident(url, name) {
    const socket = new WebSocket(url);
    const r = { name, socket, sent: 0, got: new Map(), faults: [], closed: null };

    socket.on('close', (code) => {
        r.closed = code;
    });
    socket.on('error', (error) => r.faults.push(error.message));
    socket.on('message', (data) => {
        const [from, n] = String(data).split(' ');
        const next = r.got.get(from) ?? 0;

        if (Number(n) !== next) r.faults.push(`${name} got ${n} of ${from} in place of ${next}`);
        r.got.set(from, Number(n) + 1);
    });
    await once(socket, 'open');
    r.speak = () => {
        r.timer = setInterval(() => socket.send(`${name} ${r.sent++}`), 10);
    };
    r.stop = () => clearInterval(r.timer);
    r.has = (others) => others.every((other) => (r.got.get(other.name) ?? 0) === other.sent);
    return r;
}

async function expectAllHeard(residents, members) {
    const heard = () => residents.every((r) => r.has(members(r)));
    const show = () =>
        residents.map((r) => `${r.name} has ${JSON.stringify([...r.got])} of ${r.sent}`).join('\n');

    await until(show, heard, 20000);
    for (const r of residents) {
        assert.deepEqual(r.faults, []);
        assert.equal(r.closed, null);
    }
}

test(
    'restarts under load refuse nobody and lose no message, by TCP and by a Unix socket',
    LIMIT,
    withBoth(['--workers', '2'], async (minnow) => {
        const residents = [];

        for (const [u, url] of urls(minnow, '/all').entries())
            for (let i = 0; i < 3; i++) residents.push(await startResident(url, `r${u}${i}`));
        const old = workersOf(minnow);
        await sleep(KNOWN_MS);
        residents.forEach((r) => r.speak());
        const visitors = startVisitors(minnow);
        await sleep(300);
        for (let i = 0; i < 4; i++) {
            await restart(minnow);
            await sleep(300);
        }
        const counts = { ...visitors.counts };
        await sleep(300);
        await visitors.stop();
        residents.forEach((r) => r.stop());
        assert.deepEqual(visitors.failures, []);
        assert.equal(Object.keys(visitors.counts).length, visitors.loops);
        for (const [name, count] of Object.entries(visitors.counts))
            assert.ok(count > (counts[name] ?? 0), `${name} stopped at ${count}`);
        await expectAllHeard(residents, () => residents);
        assert.ok(old.every((pid) => workersOf(minnow).includes(pid))); // they have residents
        residents.forEach((r) => r.socket.close(1000));
        await until(() => minnow.log, () => workersOf(minnow).length === 2);
        assert.ok(!old.some((pid) => workersOf(minnow).includes(pid)));
    }),
);

test(
    'when a worker is killed under load its own clients are lost, and nobody else notices',
    LIMIT,
    withBoth(['echo', '--workers', '3', '-v'], async (minnow) => {
        const residents = [];

        for (const url of urls(minnow, '/'))
            for (let i = 0; i < 6; i++) {
                const name = `r${residents.length}`;
                residents.push(await startResident(`${url}${name}`, name));
            }
        const slotOf = (r) =>
            new RegExp(`\\[(\\d)\\]: #\\S+ \\S+ opened /${r.name}\n`).exec(minnow.log)?.[1];
        await until(() => minnow.log, () => residents.every(slotOf));
        residents.forEach((r) => r.speak());
        const visitors = startVisitors(minnow);
        await sleep(300);
        const [victim] = workersOf(minnow); // the first one that was started
        await logs(minnow, 'another one starts in 0.1 s', () => process.kill(victim, 'SIGKILL'));
        await until(() => minnow.log, () => workersOf(minnow).length === 3);
        await sleep(700);
        await visitors.stop();
        residents.forEach((r) => r.stop());
        const lost = residents.filter((r) => r.closed !== null);
        const others = residents.filter((r) => r.closed === null);
        assert.deepEqual(lost.map(slotOf), lost.map(() => '0'));
        assert.ok(lost.length > 0);
        assert.ok(others.length > 0 && others.every((r) => slotOf(r) !== '0'));
        await expectAllHeard(others, (r) => [r]);
        // Those that it had in that moment: at most one of each loop.
        const failures = visitors.failures.join('\n');
        assert.ok(visitors.failures.length <= visitors.loops, failures);
        assert.doesNotMatch(failures, /REFUSED|EAGAIN|status/);
        residents.forEach((r) => r.socket.close(1000));
    }),
);

// --- Redis ---------------------------------------------------------------------------------------

for (const optional of [false, true])
    test(
        `SIGHUP while ${optional ? 'an optional' : 'a'} Redis is away`,
        LIMIT,
        async (t) => {
            const redis = await startRedis();
            const args = ['--workers', '2', '--redis', redis.url];
            const minnow = await startMinnow(...args, ...(optional ? ['--redis-optional'] : []));
            t.signal.addEventListener('abort', minnow.kill);
            try {
                const old = [];
                for (let i = 0; i < 4; i++)
                    old.push(await startResident(`${minnow.ws}/all`, `old${i}`));
                await sleep(KNOWN_MS);
                await redis.stop();
                const lost = () => minnow.log.match(/redis: lost /g)?.length === 2;
                await until(() => minnow.log, lost);
                const before = workersOf(minnow);
                if (optional) {
                    await restart(minnow);
                } else {
                    await logs(minnow, 'the new workers do not start; the old ones serve on', () =>
                        process.kill(minnow.pid, 'SIGHUP'),
                    );
                    assert.match(minnow.log, /\nminnow: --redis 127\S+: Connection refused\n/);
                    await until(() => minnow.log, () => workersOf(minnow).length === 2);
                    assert.deepEqual(workersOf(minnow), before);
                }
                await redis.start();
                if (!optional) await restart(minnow);
                const connected = () => minnow.log.match(/redis: connected /g)?.length;
                await until(() => minnow.log, () => connected() >= (optional ? 4 : 2));
                await sleep(KNOWN_MS);
                const all = [...old];
                for (let i = 0; i < 4; i++)
                    all.push(await startResident(`${minnow.ws}/all`, `new${i}`));
                await sleep(KNOWN_MS);
                all.forEach((r) => r.socket.send(`${r.name} ${r.sent++}`));
                await expectAllHeard(all, () => all);
                all.forEach((r) => r.socket.close(1000));
                minnow.interrupt();
                assert.equal(await minnow.ended(), 0, minnow.log);
            } finally {
                minnow.kill();
                await redis.release();
            }
        },
    );

// --- polling -------------------------------------------------------------------------------------

async function load(minnow, sessions, rounds) {
    const args = [minnow.port, sessions, rounds].map(String);

    return (await promisify(execFile)(POLLING_LOAD, args)).stdout;
}

test(
    '10000 sessions on polling keep their events in order, whichever worker a request lands on',
    LIMIT,
    withBoth(['echo', '--workers', '4'], async (minnow) => {
        assert.match(await load(minnow, 10000, 3), /^10000 sessions, \d+ requests in /);
        assert.equal(minnow.log, '');
    }),
);

test(
    'sessions on polling keep their events in order through restarts',
    LIMIT,
    withBoth(['echo', '--workers', '2', '--drain-timeout', '100'], async (minnow) => {
        let over = false;
        const loaded = load(minnow, 1000, 20).finally(() => {
            over = true;
        });
        let restarts = 0;

        loaded.catch(() => {}); // below
        await sleep(200);
        for (; !over && restarts < 3; restarts++) {
            await restart(minnow);
            await sleep(200);
        }
        assert.match(await loaded, /^1000 sessions, /);
        assert.ok(restarts > 1);
    }),
);

// --- browsers ------------------------------------------------------------------------------------

async function openTab(minnow) {
    const context = await browser.newContext({ locale: 'en-GB' });
    const tab = await context.newPage();

    await tab.goto(`${minnow.http}/#/lobby`);
    await tab.locator('#status.open').waitFor();
    return tab;
}

const reads = (tab, text) => tab.locator('#log .text', { hasText: text }).first().waitFor();

async function say(tab, text) {
    await tab.getByLabel('Message', { exact: true }).fill(text);
    await tab.getByLabel('Message', { exact: true }).press('Enter');
}

test(
    'two browsers on different workers chat, and go on through a restart',
    LIMIT,
    withBoth(['--workers', '2', '-v', '--drain-timeout', '0.5'], async (minnow) => {
        const tabs = [await openTab(minnow)];
        const opened = /\[(\d)\]: #\S+ \S+ opened \/lobby\n/g;
        const slots = () => [...minnow.log.matchAll(opened)].map((match) => match[1]);

        // A page takes connections of its own, so which worker gets the next one is not known.
        while (new Set(slots()).size < 2 && tabs.length < 20) {
            tabs.push(await openTab(minnow));
            await until(() => minnow.log, () => slots().length === tabs.length);
        }
        const ada = tabs[slots().indexOf('0')];
        const grace = tabs[slots().indexOf('1')];
        await sleep(KNOWN_MS);
        await say(ada, 'hello from one worker');
        await reads(grace, 'hello from one worker');
        await say(grace, 'hello from the other');
        await reads(ada, 'hello from the other');
        const before = slots().length;
        await restart(minnow);
        await until(() => minnow.log, () => slots().length === before + tabs.length);
        for (const tab of tabs) await tab.locator('#status.open').waitFor();
        await sleep(KNOWN_MS);
        await say(ada, 'still here');
        await reads(grace, 'still here');
        for (const tab of tabs) await tab.context().close();
    }),
);
