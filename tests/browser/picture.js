// The picture in the README: an agent in a call with `foredial demo`. `node picture.js [folder]` writes it to docs/, and
// the same moment in every look, with what comes before and after, into the folder. They are for looking at.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { launch, profile } from './support/browser.js';
import { demo } from './support/daemon.js';
import { DeskPage } from './support/desk.js';

const PICTURE = resolve(import.meta.dirname, '../../docs/agent-in-a-call.png');
const folder = process.argv[2] ?? 'shots';
/** The demo's customers with these last digits answer. */
const ANSWERS_BELOW = 70;

mkdirSync(folder, { recursive: true });
mkdirSync(resolve(PICTURE, '..'), { recursive: true });
const browser = await launch();
const daemon = await demo();
try {
  await in_a_call('Ana Brown', 'en', 'en-GB', 'Interested in the renewal, asks for the offer in writing.');
  await in_a_call('Li Wei', 'zh', 'zh-CN', '客户对续约感兴趣，请先把报价发到邮箱。');
} finally {
  await browser.close();
  await daemon.stop();
}

async function in_a_call(agent, language, locale, notes) {
  const { context } = await profile(browser, { locale });
  const desk = new DeskPage(await context.newPage());
  const { page } = desk;
  const shot = async (name) => {
    await page.mouse.move(683, 30);
    for (const theme of ['dark', 'light']) {
      await page.emulateMedia({ colorScheme: theme });
      await page.waitForTimeout(400);
      await page.screenshot({ path: join(folder, `${language}-${theme}-${name}.png`) });
    }
  };
  await page.goto(daemon.links[agent]);
  await desk.seat('live');
  await shot('0-not-ready');
  await desk.primary('ready');
  await desk.state('previewing');
  // A card in her language, in the customer's daytime, of somebody who answers.
  for (;;) {
    const { card, now_ms } = await desk.desk();
    const [phone] = card.phones;
    const hour = new Date(now_ms + 1_000 * phone.utc_offset_s).getUTCHours();
    const by_day = language === 'zh' || (hour >= 9 && hour < 20);
    if (card.language === language && card.company && by_day && Number(phone.display.slice(-2)) < ANSWERS_BELOW) break;
    await desk.key('s');
    await desk.key('1');
    await page.locator(`[data-testid=card]:not([data-token="${card.token}"])`).waitFor();
  }
  await page.locator('[data-testid=crm][data-status=ready]').waitFor();
  await shot('1-preview');
  await page.locator('[data-testid=primary][data-action=dial][aria-disabled=false]').waitFor();
  await desk.key('Space');
  await page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
  await desk.state('talking');
  await desk.at('notes').fill(notes);
  await desk.key('Escape');
  await page.waitForFunction(() => window.foredial.now_ms - window.foredial.desk.call.answered_ms > 41_000, null, { timeout: 60_000 });
  await shot('2-talking');
  if (language === 'en') await page.screenshot({ path: PICTURE });
  await page.locator('[data-testid=primary][data-action=hang_up]').click();
  await desk.state('wrap_up');
  await desk.key('2');
  await shot('3-wrap-up');
  await desk.key('Enter');
  await desk.state('previewing');
  await desk.key('r');
  await desk.at('recent-row').first().waitFor();
  await shot('4-recent');
  await context.close();
}
