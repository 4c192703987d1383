// SPDX-License-Identifier: MIT
//
// The page as a person meets it, in headless Chromium.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { startBrowser } from './browser.js';
import { startProxy } from './cut_proxy.js';
import { LIMIT, withMinnow } from './minnow.js';

const PHONE = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };
let browser;

before(async () => {
    browser = await startBrowser();
});
after(() => browser.close());

// A tab with storage of its own. tab.complaints gathers what Chromium's console says against the
// page; that an attempt to connect failed is no fault of the page.
async function openTab(url, options = {}) {
    const context = await browser.newContext({ locale: 'en-GB', ...options });
    const tab = await context.newPage();
    tab.setDefaultTimeout(60000);
    tab.complaints = [];
    tab.on('pageerror', (error) => tab.complaints.push(String(error)));
    tab.on('console', (message) => {
        if (
            ['error', 'warning'].includes(message.type()) &&
            !/^WebSocket connection to .* failed: /.test(message.text())
        )
            tab.complaints.push(message.text());
    });
    if (options.clock) await context.clock.install();
    if (options.script) await context.addInitScript(options.script);
    await tab.goto(url);
    return tab;
}

async function closeTabs(...tabs) {
    for (const tab of tabs) {
        assert.deepEqual(tab.complaints, []);
        await tab.context().close();
    }
}

const isOpen = (tab) => tab.locator('#status.open').waitFor();
const isClosed = (tab) => tab.locator('#banner').waitFor({ state: 'visible' });
const texts = (tab) => tab.locator('#log .text').allTextContents();
const reads = (tab, text) => tab.locator('#log .text', { hasText: text }).first().waitFor();

async function type(tab, text) {
    await tab.getByLabel('Message', { exact: true }).fill(text);
    await tab.getByLabel('Message', { exact: true }).press('Enter');
}

async function say(tab, text) {
    await type(tab, text);
    await reads(tab, text);
}

async function scrollsSideways(tab) {
    return tab.evaluate(() => {
        const areas = [document.scrollingElement, document.querySelector('main')];
        return areas.some((e) => e.scrollWidth > e.clientWidth);
    });
}

test(
    'two tabs in a room read each other, another room hears nothing',
    LIMIT,
    withMinnow([], async (minnow) => {
        const [ada, grace] = [
            await openTab(`${minnow.http}/#/lobby`),
            await openTab(`${minnow.http}/#/lobby`),
        ];
        const other = await openTab(`${minnow.http}/#/elsewhere`);
        await Promise.all([ada, grace, other].map(isOpen));

        await ada.getByLabel('Your name').fill('Ada');
        await say(ada, 'Hello from Ada');
        await reads(grace, 'Hello from Ada');
        assert.equal(await grace.locator('#log .name').first().textContent(), 'Ada');
        await say(grace, 'Hello back');
        await reads(ada, 'Hello back');

        await say(other, 'anybody here?');
        assert.deepEqual(await texts(ada), ['Hello from Ada', 'Hello back']);
        assert.deepEqual(await texts(grace), ['Hello from Ada', 'Hello back']);
        assert.deepEqual(await texts(other), ['anybody here?']);
        await closeTabs(ada, grace, other);
    }),
);

test(
    'whose each message is can be heard, and two people of one name stay two',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tabs = [1, 2, 3].map(() => openTab(minnow.http));
        const [ada, one, two] = await Promise.all(tabs);
        await Promise.all([ada, one, two].map(isOpen));
        for (const tab of [one, two]) await tab.getByLabel('Your name').fill('Sam');

        for (const [tab, text] of [
            [one, 'first'],
            [one, 'second'],
            [two, 'third'],
            [ada, 'fourth'],
        ]) {
            await type(tab, text);
            await reads(ada, text);
        }
        const heard = await ada.getByRole('log').ariaSnapshot();
        assert.match(heard, /Sam[^]*first[^]*Sam[^]*second[^]*Sam[^]*third[^]*You[^]*fourth/);
        // A new minute between two messages begins a heading too, so this one is not compared.
        const third = ada.locator('#log li', { hasText: 'third' });
        assert.equal(await third.evaluate((item) => item.classList.contains('more')), false);
        await closeTabs(ada, one, two);
    }),
);

// The contrast of an element's text with what it stands on, WCAG 2.2 §1.4.3.
function contrast([text, ground]) {
    const luminance = (color) => {
        const [r, g, b] = color
            .match(/[\d.]+/g)
            .map((n) => n / 255)
            .map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [high, low] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}

test(
    'names of every colour can be read, in light and in dark',
    LIMIT,
    withMinnow([], async (minnow) => {
        for (const colorScheme of ['light', 'dark']) {
            const tab = await openTab(minnow.http, { colorScheme });
            await isOpen(tab);
            const client = new WebSocket(minnow.ws);
            await new Promise((resolve, reject) => {
                client.on('open', resolve).on('error', reject);
            });
            client.send(JSON.stringify({ id: 'x-1', name: 'Ada', text: 'colourful' }));
            await reads(tab, 'colourful');
            const pairs = await tab.locator('#log .message').evaluate((item) => {
                const style = (name) => getComputedStyle(item.querySelector(name));
                const ground = getComputedStyle(document.body).backgroundColor;
                return Array.from({ length: 72 }, (_, i) => {
                    item.style.setProperty('--hue', 5 * i);
                    return [
                        [style('.name').color, ground],
                        [style('.avatar').color, style('.avatar').backgroundColor],
                    ];
                }).flat();
            });
            assert.equal(pairs.length, 144);
            for (const pair of pairs) assert.ok(contrast(pair) >= 4.5, pair.join(' on '));
            client.close();
            await closeTabs(tab);
        }
    }),
);

test(
    'a tab that was cut off comes back and its unsent messages arrive once, in order',
    LIMIT,
    withMinnow([], async (minnow) => {
        const proxy = await startProxy(minnow.port);
        const [cut, steady] = [await openTab(`${proxy.http}/`), await openTab(`${minnow.http}/`)];
        await Promise.all([cut, steady].map(isOpen));
        await say(cut, 'before');

        proxy.refusing = true;
        proxy.cut();
        await isClosed(cut);
        await type(cut, 'first meanwhile');
        await type(cut, 'second meanwhile');
        assert.deepEqual(await cut.locator('#pending .text').allTextContents(), [
            'first meanwhile',
            'second meanwhile',
        ]);
        assert.match(await cut.locator('#pending .state').first().textContent(), /Waiting/);
        assert.match(await cut.locator('#status').textContent(), /Closed 1006|Connecting/);
        assert.match(await cut.locator('#why').textContent(), /^Closed: 1006 \(connection lost\)$/);
        await cut.locator('#countdown', { hasText: '2 wait' }).waitFor();
        await cut.getByLabel('Message', { exact: true }).fill('half a sen');

        proxy.refusing = false;
        await reads(cut, 'second meanwhile');
        assert.equal(await cut.getByLabel('Message', { exact: true }).inputValue(), 'half a sen');
        await say(cut, 'after');
        await reads(steady, 'after');
        const all = ['before', 'first meanwhile', 'second meanwhile', 'after'];
        assert.deepEqual(await texts(steady), all);
        assert.deepEqual(await texts(cut), all);
        assert.equal(await cut.locator('#pending li').count(), 0);
        assert.equal(await cut.locator('#banner').isVisible(), false);
        proxy.close();
        await closeTabs(cut, steady);
    }),
);

test(
    'a message that arrived but whose answer was lost shows once',
    LIMIT,
    withMinnow([], async (minnow) => {
        const proxy = await startProxy(minnow.port);
        const [cut, steady] = [await openTab(`${proxy.http}/`), await openTab(`${minnow.http}/`)];
        await Promise.all([cut, steady].map(isOpen));

        proxy.muted = true;
        await type(cut, 'did it arrive?');
        await reads(steady, 'did it arrive?');
        assert.equal(await cut.locator('#pending li').count(), 1);
        proxy.muted = false;
        proxy.cut();
        await reads(cut, 'did it arrive?');
        await say(cut, 'it did');
        await reads(steady, 'it did');
        assert.deepEqual(await texts(steady), ['did it arrive?', 'it did']);
        assert.deepEqual(await texts(cut), ['did it arrive?', 'it did']);
        proxy.close();
        await closeTabs(cut, steady);
    }),
);

test(
    'a connection that is open but dead is given up',
    LIMIT,
    withMinnow([], async (minnow) => {
        const proxy = await startProxy(minnow.port);
        const tab = await openTab(proxy.http, { clock: true, script: 'Math.random = () => 1' });
        await isOpen(tab);

        proxy.muted = true;
        await type(tab, 'into the void');
        for (let i = 0; i < 200 && !(await tab.locator('#banner').isVisible()); i++)
            await tab.context().clock.runFor(100);
        assert.equal(await tab.locator('#why').textContent(), 'Closed: 1006 “no answer”');
        proxy.muted = false;
        await tab.getByRole('button', { name: 'Reconnect' }).click();
        await reads(tab, 'into the void');
        proxy.close();
        await closeTabs(tab);
    }),
);

// Attempts follow each other at once here, but the page believes that it waits.
const HURRY = `
    Math.random = () => 1;
    window.waits = [];
    const later = window.setTimeout;
    window.setTimeout = (fn, ms) => {
        if (fn.name !== 'connect') return later(fn, ms);
        waits.push(ms);
        return later(fn, 0);
    };`;

test(
    'the wait between attempts doubles up to 15 seconds',
    LIMIT,
    withMinnow([], async (minnow) => {
        const proxy = await startProxy(minnow.port);
        const tab = await openTab(proxy.http, { script: HURRY });
        await isOpen(tab);

        proxy.refusing = true;
        proxy.cut();
        await tab.waitForFunction(() => waits.length >= 7);
        assert.deepEqual(
            await tab.evaluate(() => waits.slice(0, 7)),
            [600, 1100, 2100, 4100, 8100, 15100, 15100],
        );
        proxy.refusing = false;
        await isOpen(tab);
        proxy.close();
        await closeTabs(tab);
    }),
);

test(
    'a message that is too big for the server is given up, the next one is sent',
    LIMIT,
    withMinnow(['--max-message', '1K'], async (minnow) => {
        const tab = await openTab(minnow.http);
        await isOpen(tab);

        await type(tab, 'x'.repeat(5000));
        await tab
            .locator('.failed .state', { hasText: 'Not sent: too big for this server' })
            .waitFor();
        assert.match(await tab.locator('#why').textContent(), /^Closed: 1009 /);
        await say(tab, 'short');
        assert.equal((await texts(tab)).length, 2);
        await closeTabs(tab);
    }),
);

test(
    'Ctrl-C ends the program with 0 and both tabs see 1001',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tabs = [await openTab(minnow.http), await openTab(minnow.http)];
        await Promise.all(tabs.map(isOpen));

        minnow.interrupt();
        assert.equal(await minnow.ended(), 0);
        for (const tab of tabs) {
            await isClosed(tab);
            assert.match(await tab.locator('#why').textContent(), /^Closed: 1001 /);
        }
        await closeTabs(...tabs);
    }),
);

test(
    'the room is the path of the WebSocket, whatever its name',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http);
        await isOpen(tab);
        assert.equal(await tab.getByLabel('Room').inputValue(), '/');

        const paths = {
            lobby: '/lobby',
            'a b/ç': '/a%20b/%C3%A7',
            '100%': '/100%25',
            'what?#x': '/what%3F%23x',
            'a|b[1]^': '/a%7Cb%5B1%5D%5E',
        };
        for (const [name, path] of Object.entries(paths)) {
            await tab.getByLabel('Room').fill(name);
            await tab.getByLabel('Room').press('Enter');
            await tab.locator('.note', { hasText: path }).waitFor();
            await isOpen(tab);

            const client = new WebSocket(minnow.ws + path);
            await new Promise((resolve, reject) => {
                client.on('open', resolve).on('error', reject);
            });
            client.send(`plain text to ${name}`);
            await reads(tab, `plain text to ${name}`);
            client.close();
        }
        await tab.goto(`${minnow.http}/#/%zz`); // no valid escape: a name like any other
        await tab.locator('.note', { hasText: '/%25zz' }).waitFor();
        await closeTabs(tab);
    }),
);

test(
    'who leaves a room takes no message along',
    LIMIT,
    withMinnow([], async (minnow) => {
        const proxy = await startProxy(minnow.port);
        const tab = await openTab(proxy.http);
        await isOpen(tab);
        proxy.refusing = true;
        proxy.cut();
        await isClosed(tab);
        await type(tab, 'only for the first room');
        await tab.getByLabel('Room').fill('/second');
        await tab.getByRole('button', { name: 'Join' }).click();
        await tab.locator('.failed .state', { hasText: 'Not sent: you left the room' }).waitFor();
        proxy.refusing = false;
        await isOpen(tab);
        await say(tab, 'here I am');
        await tab.getByRole('button', { name: 'Send again' }).click();
        await tab.locator('.failed').waitFor({ state: 'detached' });
        assert.deepEqual(await texts(tab), ['here I am', 'only for the first room']);
        proxy.close();
        await closeTabs(tab);
    }),
);

test(
    'nothing that is said becomes markup',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http);
        await isOpen(tab);
        const client = new WebSocket(minnow.ws);
        await new Promise((resolve, reject) => {
            client.on('open', resolve).on('error', reject);
        });
        const evil = '<img src=x onerror="document.title=1"><b>bold</b>';
        client.send(JSON.stringify({ id: 1, name: evil, text: evil }));
        client.send(JSON.stringify({ name: { a: 1 }, text: ['x'] }));
        client.send('null');
        client.send('{"text":"no name"}');
        client.send(Buffer.from([1, 2, 3]));
        await reads(tab, '3 bytes of binary');
        assert.deepEqual((await texts(tab)).slice(0, 1), [evil]);
        assert.equal((await texts(tab)).length, 5);
        assert.equal(await tab.locator('#log img, #log b').count(), 0);
        client.close();
        await closeTabs(tab);
    }),
);

test(
    "the policy blocks styles and scripts that are not the page's own",
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http);
        const blocked = await tab.evaluate(async () => {
            const violated = [];
            addEventListener('securitypolicyviolation', (e) => violated.push(e.effectiveDirective));
            const style = document.createElement('style');
            style.textContent = 'body { display: none }';
            document.head.append(style);
            document.head.append(
                Object.assign(document.createElement('img'), { src: 'http://127.0.0.1:9/x' }),
            );
            try {
                document.body.innerHTML = '<p>';
            } catch {
                violated.push('trusted types');
            }
            for (let i = 0; violated.length < 4 && i < 500; i++)
                await new Promise((resolve) => {
                    setTimeout(resolve, 10);
                });
            return violated.concat(getComputedStyle(document.body).display);
        });
        for (const what of ['style-src-elem', 'img-src', 'trusted types', 'flex'])
            assert.ok(blocked.includes(what), `${what} in ${blocked}`);
        await tab.context().close();
    }),
);

test(
    'it fits a phone and follows dark mode',
    LIMIT,
    withMinnow([], async (minnow) => {
        const backs = [];
        for (const [colorScheme, width] of [
            ['light', 360],
            ['dark', 360],
            ['light', 320],
            ['dark', 1280],
        ]) {
            const viewport = { ...PHONE.viewport, width };
            const tab = await openTab(minnow.http, { ...PHONE, viewport, colorScheme });
            await isOpen(tab);
            await tab.getByLabel('Your name').fill('Wolfeschlegelsteinhausenbergerdorff the IVth');
            await say(tab, 'w'.repeat(400));
            await say(tab, 'two\nlines');
            assert.equal(await scrollsSideways(tab), false, `${colorScheme} ${width}`);
            const shot = await tab.screenshot();
            assert.ok(shot.length > 5000, `${shot.length} bytes of picture`);
            backs.push(await tab.evaluate(() => getComputedStyle(document.body).backgroundColor));
            await closeTabs(tab);
        }
        assert.equal(backs[0], backs[2]);
        assert.equal(backs[1], backs[3]);
        assert.notEqual(backs[0], backs[1]);
    }),
);

test(
    'everything has a name and the keyboard reaches it',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http);
        await isOpen(tab);
        assert.equal(await tab.getByRole('status').first().textContent(), 'Open');
        await tab.getByRole('log', { name: 'Messages' }).waitFor({ state: 'attached' });

        // From the message, where the cursor is at first, once around by Tab.
        const focused = () =>
            tab.evaluate(() => document.activeElement.id || document.activeElement.tagName);
        assert.equal(await focused(), 'text');
        await tab.keyboard.type('by keyboard');
        await tab.keyboard.press('Shift+Enter');
        await tab.keyboard.type('alone');
        await tab.keyboard.press('Tab');
        assert.equal(await focused(), 'send');
        await tab.keyboard.press('Enter');
        await reads(tab, 'by keyboard\nalone');
        assert.equal(await focused(), 'text');
        const around = [];
        for (let i = 0; i < 3; i++) {
            await tab.keyboard.press('Shift+Tab');
            around.push(await focused());
        }
        assert.deepEqual(around, ['MAIN', 'room', 'name']); // Join is off until it has a use
        await tab.getByLabel('Room').fill('/den');
        await tab.keyboard.press('Tab');
        assert.equal(await focused(), 'join');
        await tab.keyboard.press('Enter');
        await tab.locator('.note', { hasText: '/den' }).waitFor();
        assert.equal(await focused(), 'text');
        await closeTabs(tab);
    }),
);

test(
    'the log follows its end, but not while somebody reads further up',
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http, PHONE);
        await isOpen(tab);
        const client = new WebSocket(minnow.ws);
        await new Promise((resolve, reject) => {
            client.on('open', resolve).on('error', reject);
        });
        const fromEnd = () =>
            tab.evaluate(() => {
                const area = document.querySelector('main');
                return area.scrollHeight - area.scrollTop - area.clientHeight;
            });

        for (let i = 0; i < 40; i++) client.send(`line ${i}`);
        await reads(tab, 'line 39');
        assert.ok((await fromEnd()) < 60);
        await tab.evaluate(() => {
            document.querySelector('main').scrollTop = 0;
        });
        await tab.waitForFunction(() => document.querySelector('main').scrollTop === 0);
        await tab.waitForFunction(() => !atEnd);
        client.send('one more');
        await tab.getByRole('button', { name: 'New messages' }).click();
        assert.ok((await fromEnd()) < 60);
        await tab.getByRole('button', { name: 'New messages' }).waitFor({ state: 'hidden' });
        client.close();
        await closeTabs(tab);
    }),
);

test(
    "a name of one's own is kept, two guests have names that differ in their tabs",
    LIMIT,
    withMinnow([], async (minnow) => {
        const tab = await openTab(minnow.http);
        assert.notEqual(await tab.getByLabel('Your name').inputValue(), '');
        await tab.getByLabel('Your name').fill('Ada');
        await tab.getByLabel('Your name').press('Enter');
        await tab.reload();
        assert.equal(await tab.getByLabel('Your name').inputValue(), 'Ada');
        const second = await tab.context().newPage();
        await second.goto(minnow.http);
        assert.equal(await second.getByLabel('Your name').inputValue(), 'Ada');
        await second.getByLabel('Your name').fill('Grace');
        await second.getByLabel('Your name').press('Enter');
        await tab.reload();
        assert.equal(await tab.getByLabel('Your name').inputValue(), 'Ada');
        await closeTabs(tab);
    }),
);

test(
    'the echo page compares what comes back',
    LIMIT,
    withMinnow(['echo'], async (minnow) => {
        const tab = await openTab(minnow.http, PHONE);
        await isOpen(tab);
        assert.equal(await tab.title(), 'minnow echo');
        assert.equal(await tab.getByLabel('Room').isVisible(), false);

        const runs = tab.locator('#log .run.same');
        await type(tab, 'hällo');
        await runs.nth(0).waitFor();
        assert.match(await runs.nth(0).textContent(), /hällo.*6 B text.*same, /);
        await type(tab, '');
        await runs.nth(1).waitFor();
        await tab.getByLabel('Size').selectOption('1 MiB');
        await type(tab, '');
        await tab.getByLabel('Send as').selectOption('binary');
        await type(tab, '');
        await tab.getByLabel('Size').selectOption('64 KiB');
        await tab.getByLabel('Times').selectOption('100');
        await type(tab, '');
        await runs.nth(4).waitFor();
        assert.equal(await tab.locator('#sent').textContent(), '104');
        assert.equal(await tab.locator('#back').textContent(), '104');
        assert.equal(await tab.locator('#wrong').textContent(), '0');
        assert.equal(await scrollsSideways(tab), false);
        await closeTabs(tab);
    }),
);

test(
    'the echo page closes with a code and stays closed until asked',
    LIMIT,
    withMinnow(['echo', '-v'], async (minnow) => {
        const tab = await openTab(minnow.http);
        await isOpen(tab);
        await tab.getByLabel('Close code').fill('4001');
        await tab.getByLabel('Reason').fill('tired of it');
        await tab.getByRole('button', { name: 'Close', exact: true }).click();
        await isClosed(tab);
        assert.match(await tab.locator('#why').textContent(), /^Closed: 4001/);
        assert.equal(await tab.locator('#countdown').textContent(), '');
        await type(tab, 'kept');
        await tab.getByRole('button', { name: 'Reconnect' }).click();
        await tab.locator('#log .run.same', { hasText: 'kept' }).waitFor();
        assert.match(minnow.log, /closed \/: 4001 "tired of it"/);
        await closeTabs(tab);
    }),
);
