// SPDX-License-Identifier: MIT
//
// The examples that come with a browser page, each with that page in Chromium.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { startBrowser } from './browser.js';
import { LIMIT } from './minnow.js';
import { startPages } from './pages.js';
import { startExample } from './sio_server.js';

const HELLO_PORT = 5500; // of the one origin that sio_hello allows

let browser;

before(async () => {
    browser = await startBrowser();
});
after(() => browser.close());

// A test's function: run `body` with an example and a function that opens its page in a new tab.
function withExample(name, body, pagesPort = 0) {
    return async (t) => {
        const example = await startExample(name);
        const pages = await startPages(pagesPort);
        const scheme = name.startsWith('ws') ? 'ws' : 'http';
        const tabs = [];
        const open = async (origin = pages.origin) => {
            const tab = await browser.newPage();
            tabs.push(tab);
            await tab.goto(`${origin}/${name}.html#${scheme}://127.0.0.1:${example.port}`);
            return tab;
        };
        const end = async () => {
            while (tabs.length > 0) await tabs.pop().close();
            pages.close();
            await example.kill();
        };
        t.signal.addEventListener('abort', end);
        try {
            await body({ example, open });
        } finally {
            await end();
        }
    };
}

async function say(tab, text) {
    await tab.fill('#input', text);
    await tab.click('#form button');
}

test(
    'sio_broadcast: what one page says, all show',
    LIMIT,
    withExample('sio_broadcast', async ({ open }) => {
        const tabs = [await open(), await open()];
        // A page is not heard before it has connected: say it until the other one shows it.
        for (;;) {
            await say(tabs[0], 'hello <b>you</b>');
            const shown = tabs[1].locator('#messages li').first();
            if (await shown.textContent({ timeout: 1000 }).catch(() => null)) break;
        }
        for (const tab of tabs)
            assert.equal(
                await tab.locator('#messages li').first().textContent(),
                'hello <b>you</b>',
            );
    }),
);

test(
    'sio_hello: its own origin is answered, with header and cookies allowed',
    LIMIT,
    withExample(
        'sio_hello',
        async ({ example, open }) => {
            const tab = await open();
            await tab.click('#send:enabled');
            await tab.locator('#answer:has-text("Hello from the server")').waitFor();
            await example.line(/^[\w-]{20} connected$/);
            await example.line(/^[\w-]{20} sent "Hello from the page"$/);
        },
        HELLO_PORT,
    ),
);

test(
    'sio_hello: a page of another origin is not answered',
    LIMIT,
    withExample('sio_hello', async ({ example, open }) => {
        const tab = await open();
        const error = await tab.evaluate(
            () => new Promise((resolve) => socket.once('connect_error', (e) => resolve(e.message))),
        );
        assert.equal(error, 'xhr poll error');
        assert.deepEqual(example.lines, []);
    }),
);

test(
    'ws_log: messages and the code and reason of closing are printed',
    LIMIT,
    withExample('ws_log', async ({ example, open }) => {
        const tab = await open();
        await tab.locator('#state:has-text("open")').waitFor();
        await say(tab, 'hello there');
        await tab.click('#close');
        await tab.locator('#state:has-text("closed: 1000")').waitFor();
        await example.line(/^Closed/);
        assert.deepEqual(example.lines, ['Received message: hello there', 'Closed: 1000 goodbye']);
    }),
);

test(
    'ws_chat: what one page says, all show, and the closed are forgotten',
    LIMIT,
    withExample('ws_chat', async ({ open }) => {
        const tabs = [await open(), await open(), await open()];
        for (const tab of tabs) await tab.locator('#state:has-text("open")').waitFor();
        await say(tabs[0], 'one');
        for (const tab of tabs) await tab.locator('#messages li:has-text("one")').waitFor();
        await tabs[2].close();
        await say(tabs[1], 'two');
        for (const tab of tabs.slice(0, 2))
            await tab.locator('#messages li:has-text("two")').waitFor();
    }),
);
