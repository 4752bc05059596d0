// Opens the notice of each blocked host, and the status page, in a real browser and holds them to what they promise:
// nothing on the console, nothing asked of another origin, no serious accessibility fault, no sideways scrolling;
// light, dark, on a narrow screen, from right to left, on paper. What is kept out: what the words say (cargo test).
//
//   npm install --prefix tests/browser
//   node tests/browser/run.mjs --base http://127.0.0.1:8080 --host blocked.example --status http://127.0.0.1:9180 --shots DIR
//
// --host may be given more than once. CHROMIUM names the browser (default /usr/bin/chromium). Exit status: 0 all well,
// 1 something is not as promised, 2 wrong usage.

import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const WIDE = { width: 1000, height: 900 };
const VARIANTS = [
  { name: "light", colorScheme: "light", viewport: WIDE, locale: "en-GB" },
  { name: "dark", colorScheme: "dark", viewport: WIDE, locale: "en-GB" },
  { name: "narrow", colorScheme: "light", viewport: { width: 360, height: 740 }, locale: "en-GB" },
  { name: "rtl", colorScheme: "light", viewport: WIDE, locale: "ar", notice: true },
  { name: "print", colorScheme: "light", viewport: WIDE, locale: "en-GB", media: "print", notice: true },
];
const SERIOUS = new Set(["serious", "critical"]);
const PAGE_TIMEOUT_MS = 20_000;

const options = readOptions();
const faults = [];
const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await launch();
try {
  if (options.shots) await mkdir(options.shots, { recursive: true });
  for (const host of options.hosts) {
    const url = new URL(options.base);
    url.hostname = host;
    for (const variant of VARIANTS) await look("notice", url, variant, [403, 451]);
  }
  if (options.status) {
    const variants = VARIANTS.filter((variant) => !variant.notice);
    for (const variant of variants) await look("status", new URL(options.status), variant, [200]);
  }
} finally {
  await browser.close();
}
for (const fault of faults) console.error(fault);
console.log(faults.length === 0 ? "browser: all well" : `browser: ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

/** Opens one page in one variant and records what is not as promised. */
async function look(kind, url, variant, statuses) {
  const where = `${kind} ${url.host} ${variant.name}`;
  const fault = (message) => faults.push(`${where}: ${message}`);
  const { colorScheme, viewport, locale } = variant;
  const context = await browser.newContext({ colorScheme, viewport, locale, reducedMotion: "reduce" });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(PAGE_TIMEOUT_MS);
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== url.origin) fault(`asks ${request.url()}, which is another origin`);
    });
    page.on("console", (message) => {
      if (!isOwnStatus(message, url)) fault(`console ${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => fault(`script error: ${error.message}`));
    const response = await page.goto(url.href, { waitUntil: "load" });
    if (!statuses.includes(response.status())) fault(`status ${response.status()}, expected ${statuses.join(" or ")}`);
    if (variant.media) await page.emulateMedia({ media: variant.media });
    await checkLayout(page, variant, kind, fault);
    if (options.shots) {
      const name = `${kind}-${url.hostname}-${variant.name}.png`;
      await page.screenshot({ path: path.join(options.shots, name), fullPage: true });
    }
    await checkAccessibility(page, fault);
  } catch (error) {
    fault(error.message);
  } finally {
    await context.close();
  }
}

/** A browser remarks on every page that does not come with 200; that is the notice's purpose, not a fault. */
function isOwnStatus(message, url) {
  return message.location().url === url.href && /^Failed to load resource:.* status of (403|451)/.test(message.text());
}

async function checkLayout(page, variant, kind, fault) {
  const seen = await page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    language: document.documentElement.lang,
    direction: getComputedStyle(document.documentElement).direction,
    headings: document.querySelectorAll("h1").length,
  }));
  if (seen.overflow > 0) fault(`scrolls sideways by ${seen.overflow} px`);
  if (seen.headings !== 1) fault(`has ${seen.headings} main headings, expected 1`);
  const [language, direction] = variant.locale === "ar" ? ["ar", "rtl"] : ["en", "ltr"];
  if (seen.language !== language) fault(`is marked as "${seen.language}", expected "${language}"`);
  if (kind === "notice" && seen.direction !== direction) fault(`runs ${seen.direction}, expected ${direction}`);
}

async function checkAccessibility(page, fault) {
  // Evaluated from outside, so that the page's own policy (no script at all) stays as it is sent.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  for (const violation of violations.filter(({ impact }) => SERIOUS.has(impact))) {
    const places = violation.nodes.map((node) => node.target.join(" ")).join(", ");
    fault(`accessibility, ${violation.impact}: ${violation.help} (${violation.id}) at ${places}`);
  }
}

async function launch() {
  const rules = options.hosts.map((host) => `MAP ${host} ${new URL(options.base).hostname}`).join(", ");
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(rules === "" ? [] : [`--host-resolver-rules=${rules}`]),
    ],
  });
}

function readOptions() {
  const text = { type: "string" };
  const known = { base: text, host: { type: "string", multiple: true, default: [] }, status: text, shots: text };
  try {
    const { values } = parseArgs({ options: known });
    const { base, host: hosts, status, shots } = values;
    if (hosts.length > 0 && !base) throw new Error("--host needs --base");
    if (hosts.length === 0 && !status) throw new Error("nothing to look at; give --base with --host, or --status");
    return { base, hosts, status, shots };
  } catch (error) {
    console.error(`${error.message}\nusage: run.mjs [--base URL --host HOST ...] [--status URL] [--shots DIR]`);
    process.exit(2);
  }
}
