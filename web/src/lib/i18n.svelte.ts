// The language of the page, switchable without a reload (a reload would drop the seat), and the words for values that
// come from the switch.
import { m, speak } from '../messages';
import type { Locale } from './format';
import { prefs } from './prefs';
import type { Problem } from './protocol';

export { m };

class Language {
  locale = $state<Locale>(prefs.locale() ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'));

  /** The agent's own choice, remembered. */
  choose(locale: Locale): void {
    prefs.set_locale(locale);
    this.#apply(locale);
  }

  /** What the agent's profile says, unless they chose here. */
  suggest(locale: string): void {
    if (prefs.locale() === null && (locale === 'en' || locale === 'zh')) this.#apply(locale);
  }

  start(): void {
    speak(() => this.locale);
    this.#apply(this.locale);
  }

  #apply(locale: Locale): void {
    this.locale = locale;
    document.documentElement.lang = locale === 'zh' ? 'zh-CN' : 'en';
  }
}

export const language = new Language();

type Words = Record<string, () => string>;

const STATES: Words = {
  not_ready: m.state_not_ready,
  ready: m.state_ready,
  previewing: m.state_previewing,
  dialing: m.state_dialing,
  ringing: m.state_ringing,
  talking: m.state_talking,
  wrap_up: m.state_wrap_up,
  logged_out: m.state_logged_out,
};

const REASONS: Words = {
  break: m.reason_break,
  lunch: m.reason_lunch,
  meeting: m.reason_meeting,
  training: m.reason_training,
  paperwork: m.reason_paperwork,
  wrap_up_timeout: m.reason_wrap_up_timeout,
  preview_timeout: m.reason_preview_timeout,
  signed_in: m.reason_signed_in,
  cancelled: m.reason_cancelled,
  missed: m.reason_missed,
  declined: m.reason_declined,
  seat_lost: m.reason_seat_lost,
  link_lost: m.reason_link_lost,
};

export const BREAKS = ['break', 'lunch', 'meeting', 'training', 'paperwork'] as const;

const RESULTS: Words = {
  busy: m.result_busy,
  no_answer: m.result_no_answer,
  unavailable: m.result_unavailable,
  rejected: m.result_rejected,
  unwanted: m.result_unwanted,
  invalid_number: m.result_invalid_number,
  machine: m.result_machine,
  fax: m.result_fax,
  trunk_failure: m.result_trunk_failure,
  false_answer: m.result_false_answer,
  agent_cancelled: m.result_agent_cancelled,
  one_way_audio: m.result_one_way_audio,
  system_failure: m.result_system_failure,
  connected: m.result_connected,
};

const KINDS: Words = {
  mobile: m.kind_mobile,
  work: m.kind_work,
  home: m.kind_home,
  landline: m.kind_landline,
};

const WAITS: Words = {
  no_leads: m.waiting_no_leads,
  outside_hours: m.waiting_outside_hours,
  blocked: m.waiting_blocked,
  draining: m.waiting_draining,
  campaign_paused: m.waiting_campaign_paused,
  skip_limit: m.waiting_skip_limit,
};

const PROBLEMS: Words = {
  stale_token: m.problem_stale_token,
  wrong_state: m.problem_wrong_state,
  overload: m.problem_overload,
  outside_hours: m.problem_outside_hours,
  suppressed: m.problem_suppressed,
  no_seat: m.problem_no_seat,
  phone_unregistered: m.problem_phone_unregistered,
  phone_silent: m.problem_phone_silent,
  phone_refused: m.problem_phone_refused,
  seat_absent: m.problem_seat_absent,
  skip_limit: m.problem_skip_limit,
  not_sent: m.problem_not_sent,
  no_call: m.problem_no_call,
  already_dialed: m.problem_already_dialed,
  not_answered: m.problem_not_answered,
  draining: m.problem_draining,
  stopped: m.problem_draining,
  store: m.problem_store,
  agent_busy: m.problem_agent_busy,
  no_extensions_left: m.problem_no_extensions_left,
  preview_ceiling: m.problem_no_extensions_left,
  notes_too_short: m.problem_notes_too_short,
  notes_too_long: m.problem_notes_too_long,
  callback_time_missing: m.problem_callback_time,
  callback_time_past: m.problem_callback_time,
  third_party: m.problem_third_party,
  no_third_party: m.problem_no_third_party,
  unknown_target: m.problem_unknown_target,
  not_registered: m.problem_not_registered,
  emergency: m.problem_emergency,
  fraud: m.problem_fraud,
  route: m.problem_fraud,
};

/** The gate's rules, by the stable names the switch sends. */
const RULES: Words = {
  campaign_stopped: m.rule_campaign_stopped,
  list_inactive: m.rule_list_inactive,
  lead_state: m.rule_lead_state,
  not_before: m.rule_not_before,
  cool_down: m.rule_cool_down,
  kept_from_agent: m.rule_kept_from_agent,
  phone_bad: m.rule_phone_bad,
  suppressed: m.rule_suppressed,
  phone_done: m.rule_phone_done,
  phone_not_before: m.rule_phone_not_before,
  no_time_zone: m.rule_no_time_zone,
  outside_hours: m.rule_outside_hours,
  cap_day: m.rule_cap_day,
  cap_week: m.rule_cap_week,
  cap_life: m.rule_cap_life,
  gap: m.rule_gap,
  live_attempt: m.rule_live_attempt,
  no_route: m.rule_no_route,
};

const RULE_NAMES = new RegExp(`\\b(${Object.keys(RULES).join('|')})\\b`, 'g');

const plain = (key: string) => key.replaceAll('_', ' ');

export const state_name = (kind: string) => STATES[kind]?.() ?? plain(kind);
export const reason_name = (key: string) => REASONS[key]?.() ?? plain(key);
export const result_name = (key: string) => RESULTS[key]?.() ?? plain(key);
export const kind_name = (key: string) => KINDS[key]?.() ?? m.kind_other();
export const waiting_text = (reason: string) => WAITS[reason]?.() ?? m.waiting_other({ reason: plain(reason) });

/** Puts words for the rule names in a text of the switch. */
export const with_rule_words = (text: string) => text.replace(RULE_NAMES, (name) => RULES[name]!()); // RULE_NAMES matches only keys

const rules_in = (text: string) => [...new Set(text.match(RULE_NAMES) ?? [])].map(with_rule_words).join(m.list_comma());

export function problem_text(problem: Problem): string {
  const rule = problem.rule ?? '';
  const detail = problem.detail ?? '';
  const rules = rule === 'gate' ? rules_in(detail) : '';
  if (rules) return m.problem_gate({ rules });
  return PROBLEMS[rule]?.() ?? m.problem_unknown({ detail: with_rule_words(detail || problem.title) });
}
