// The page object: one place that knows the data-testids.

export class DeskPage {
  constructor(page) {
    this.page = page;
  }

  at(testid) {
    return this.page.getByTestId(testid);
  }

  async sign_in(agent = 'agent1', password = 'demo') {
    await this.at('signin-agent').fill(agent);
    await this.at('signin-password').fill(password);
    await this.at('signin-submit').click();
    await this.at('desk').waitFor();
  }

  /** The agent's state, as the page shows it: not_ready, ready, previewing, dialing, talking, wrap_up. */
  async state(kind, timeout = 10_000) {
    await this.page.locator(`[data-testid=desk][data-state=${kind}]`).waitFor({ timeout });
  }

  async seat(status, timeout = 15_000) {
    await this.page.locator(`[data-testid=desk][data-seat=${status}]`).waitFor({ timeout });
  }

  async primary(action) {
    await this.page.locator(`[data-testid=primary][data-action=${action}]`).click();
  }

  async key(key) {
    await this.page.keyboard.press(key);
  }

  desk() {
    return this.page.evaluate(() => window.foredial.desk);
  }

  /** No page may scroll: what does not fit scrolls inside its own panel. */
  overflow() {
    return this.page.evaluate(() => ({
      x: document.documentElement.scrollWidth - innerWidth,
      y: document.documentElement.scrollHeight - innerHeight,
    }));
  }
}

export async function open_desk(context, url, { raw_audio = true } = {}) {
  const page = await context.newPage();
  await page.goto(raw_audio ? `${url}/?rawaudio=1` : url);
  return new DeskPage(page);
}
