// Firefox, driven over WebDriver BiDi: each line that comes in is a command, each line that goes out its answer, as JSON.

const { createInterface } = require("node:readline");
const puppeteer = require("puppeteer-core");

const [executablePath, downloads, patience] = process.argv.slice(2);
const PATIENCE_MS = Number(patience);
const PREFERENCES = {
  "browser.download.dir": downloads,
  "browser.download.folderList": 2, // that very folder
  "browser.download.alwaysOpenPanel": false,
  "media.autoplay.default": 0, // sound may begin without a gesture
};
const WORTH_TELLING = ["error", "warn", "assert"];

let page;
const told = { trouble: [], asked: [] };

const COMMANDS = {
  /** Open a page in a fresh profile, in which a script runs before the page's own. */
  async open(browser, { script, ...viewport }) {
    await page?.browserContext().close();
    page = await (await browser.createBrowserContext()).newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.setViewport(viewport);
    page.on("console", (message) => {
      if (WORTH_TELLING.includes(message.type())) told.trouble.push(`${message.type()} on ${page.url()}: ${message.text()}`);
    });
    // Among them what the pages' policy forbids.
    page.on("pageerror", (error) => told.trouble.push(`uncaught on ${page.url()}: ${error.stack ?? error}`));
    page.on("request", (request) => told.asked.push(request.url()));
    if (script) await page.evaluateOnNewDocument(script);
  },
  goto: (_, url) => page.goto(url),
  reload: () => page.reload(),
  url: () => page.url(),
  /** Call a function; the page writes its answer as JSON, or each of a sound's samples would be an object of the protocol. */
  async evaluate(_, text, values) {
    const called = `(${text})(...${JSON.stringify(values)})`;
    return JSON.parse(await page.evaluate(`(async () => JSON.stringify((await ${called}) ?? null))()`));
  },
  click: (_, selector, options) => page.locator(selector).click(options),
  fill: (_, selector, text) => page.locator(selector).fill(text),
  press: (_, key) => page.keyboard.press(key),
  upload: async (_, selector, path) => (await page.$(selector)).uploadFile(path),
  /** Drag over an element from a fraction of its width to another, with the mouse or a finger. */
  async drag(_, selector, from, to, isFinger) {
    const { x, y, width, height } = await (await page.$(selector)).boundingBox();
    const [start, middle, end] = [from, (from + to) / 2, to].map((fraction) => [x + fraction * width, y + height / 2]);
    if (isFinger) {
      const touch = await page.touchscreen.touchStart(...start);
      for (const place of [middle, end]) await touch.move(...place);
      await touch.end();
    } else {
      await page.mouse.move(...start);
      await page.mouse.down();
      for (const place of [middle, end]) await page.mouse.move(...place);
      await page.mouse.up();
    }
  },
  told: () => told,
};
const SILENT = ["goto", "reload"]; // what they return is no JSON

async function answerTo(browser, [name, ...values]) {
  try {
    const value = await COMMANDS[name](browser, ...values);
    return { value: SILENT.includes(name) ? null : (value ?? null) };
  } catch (error) {
    return { error: error.stack ?? String(error) };
  }
}

async function main() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    headless: true,
    timeout: PATIENCE_MS,
    protocolTimeout: 3 * PATIENCE_MS, // a loaded machine did not answer within one
    extraPrefsFirefox: PREFERENCES,
  });
  console.log(JSON.stringify({ value: await browser.version() }));
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answerTo(browser, JSON.parse(line))));
  }
  await browser.close();
}

main();
