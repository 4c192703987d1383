// SPDX-License-Identifier: MIT
//
// Take the picture for the README, of a real chat. Usage: node screenshot.js FILE.png
import { startBrowser } from './browser.js';
import { startMinnow } from './minnow.js';

const minnow = await startMinnow();
const browser = await startBrowser();

async function enter(name, options = {}) {
    const tab = await browser.newPage({ locale: 'en-GB', ...options });
    await tab.goto(`${minnow.http}/#/pond`);
    await tab.getByLabel('Your name').fill(name);
    await tab.locator('#status.open').waitFor();
    return tab;
}

async function say(tab, text) {
    await tab.getByLabel('Message', { exact: true }).fill(text);
    await tab.getByLabel('Message', { exact: true }).press('Enter');
    for (const reader of people) await reader.locator('#log .text', { hasText: text }).waitFor();
}

const ada = await enter('Ada', { viewport: { width: 720, height: 676 }, deviceScaleFactor: 1.5 });
const [grace, dennis] = [await enter('Grace'), await enter('Dennis')];
const people = [ada, grace, dennis];

await say(grace, 'Hello! Is anybody here?');
await say(ada, 'Two of us. The path is the room: /pond');
await say(
    dennis,
    'Three. My phone was offline; the page kept this message and sent it later.',
);
await say(grace, 'And it arrived exactly once.');
await say(ada, 'One thread, raw epoll, libc. 🐟');
await ada.screenshot({ path: process.argv[2] });

await browser.close();
minnow.interrupt();
process.exitCode = await minnow.ended();
