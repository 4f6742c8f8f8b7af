-- Times are UTC milliseconds, ids as in src/id.rs.

CREATE TABLE contacts (
  id INTEGER PRIMARY KEY,
  external_id TEXT,
  name TEXT NOT NULL,
  company TEXT NOT NULL,
  language TEXT NOT NULL,
  fields TEXT NOT NULL,             -- JSON array of [key, value], in the file's order
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX contacts_external ON contacts (external_id) WHERE external_id IS NOT NULL;

CREATE TABLE phones (
  id INTEGER PRIMARY KEY,
  contact INTEGER NOT NULL REFERENCES contacts (id),
  position INTEGER NOT NULL,
  e164 TEXT NOT NULL,
  kind TEXT NOT NULL,
  time_zones TEXT NOT NULL,         -- IANA names, comma between; empty = unknown
  status TEXT NOT NULL DEFAULT 'ok' CHECK (status IN ('ok', 'bad')),
  UNIQUE (contact, e164)
) STRICT;
CREATE INDEX phones_e164 ON phones (e164);

CREATE TABLE lists (
  id TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  is_active INTEGER NOT NULL DEFAULT 1,
  expires_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE leads (
  id INTEGER PRIMARY KEY,
  contact INTEGER NOT NULL REFERENCES contacts (id),
  campaign TEXT NOT NULL,
  list TEXT NOT NULL REFERENCES lists (id),
  state TEXT NOT NULL CHECK (state IN ('ready', 'waiting', 'reserved', 'dialing', 'connected',
    'wrap_up', 'closed', 'suppressed', 'paused')),
  -- What a state carries. While a card is out these stay as they were, so that prior_state
  -- together with them restores the lead exactly.
  not_before INTEGER,
  wait_kind TEXT CHECK (wait_kind IN ('retry', 'callback_personal', 'callback_any')),
  owner TEXT,
  reason TEXT,
  prior_state TEXT CHECK (prior_state IN ('ready', 'waiting', 'paused')),
  priority INTEGER NOT NULL DEFAULT 0,
  business_count INTEGER NOT NULL DEFAULT 0,
  regulatory_count INTEGER NOT NULL DEFAULT 0,
  cool_until INTEGER,
  token INTEGER,                    -- the newest reservation
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  UNIQUE (campaign, contact),
  CHECK ((state = 'waiting') <= (not_before IS NOT NULL AND wait_kind IS NOT NULL)),
  CHECK ((state IN ('closed', 'suppressed')) = (reason IS NOT NULL)),
  CHECK ((state IN ('reserved', 'dialing', 'connected', 'wrap_up')) = (prior_state IS NOT NULL))
) STRICT;
CREATE INDEX leads_new ON leads (campaign, priority DESC, id) WHERE state = 'ready';
CREATE INDEX leads_due ON leads (campaign, wait_kind, not_before) WHERE state = 'waiting';
CREATE INDEX leads_contact ON leads (contact);
CREATE INDEX leads_state ON leads (campaign, state);

-- What a lead knows of one of its contact's phones, when that differs from "call it".
CREATE TABLE lead_phones (
  lead INTEGER NOT NULL REFERENCES leads (id),
  phone INTEGER NOT NULL REFERENCES phones (id),
  not_before INTEGER,
  is_done INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (lead, phone)
) STRICT, WITHOUT ROWID;

CREATE TABLE lead_skips (
  lead INTEGER NOT NULL REFERENCES leads (id),
  agent TEXT NOT NULL,
  until INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (lead, agent)
) STRICT, WITHOUT ROWID;

-- The token is the fence: AUTOINCREMENT never gives one out twice.
CREATE TABLE reservations (
  token INTEGER PRIMARY KEY AUTOINCREMENT,
  lead INTEGER NOT NULL REFERENCES leads (id),
  agent TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('preview', 'call', 'wrap_up')),
  granted_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  extensions INTEGER NOT NULL DEFAULT 0,
  wrap_up_until INTEGER,
  ended_at INTEGER,
  ended_why TEXT,
  CHECK ((ended_at IS NULL) = (ended_why IS NULL))
) STRICT;
CREATE UNIQUE INDEX reservations_live_lead ON reservations (lead) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX reservations_live_agent ON reservations (agent) WHERE ended_at IS NULL;

CREATE TABLE attempts (
  id TEXT PRIMARY KEY,
  token INTEGER NOT NULL REFERENCES reservations (token),
  lead INTEGER NOT NULL REFERENCES leads (id),
  contact INTEGER NOT NULL REFERENCES contacts (id),
  phone INTEGER NOT NULL REFERENCES phones (id),
  campaign TEXT NOT NULL,
  agent TEXT NOT NULL,
  e164 TEXT NOT NULL,
  trunk TEXT NOT NULL,
  caller_id TEXT NOT NULL,
  dialog TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  invited_at INTEGER,
  trying_at INTEGER,
  alerting_at INTEGER,
  answered_at INTEGER,
  bridged_at INTEGER,
  ended_at INTEGER,
  ended_by TEXT,
  result TEXT,
  status INTEGER,
  q850 INTEGER,
  ring_ms INTEGER,
  talk_ms INTEGER,
  hold_ms INTEGER,
  mute_ms INTEGER,
  early_media INTEGER,
  is_regulatory INTEGER NOT NULL DEFAULT 0,
  is_business INTEGER NOT NULL DEFAULT 0,
  recording TEXT NOT NULL DEFAULT 'none' CHECK (recording IN ('none', 'running', 'done', 'failed')),
  recording_path TEXT,
  recording_ms INTEGER,
  recording_bytes INTEGER,
  recording_sha256 TEXT,
  recording_error TEXT,
  CHECK ((ended_at IS NULL) = (result IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempts_live_number ON attempts (e164) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX attempts_live_lead ON attempts (lead) WHERE ended_at IS NULL;
CREATE INDEX attempts_lead ON attempts (lead, created_at);
CREATE INDEX attempts_contact ON attempts (contact, created_at);
CREATE INDEX attempts_number ON attempts (e164, created_at);
CREATE INDEX attempts_agent ON attempts (agent, created_at);
CREATE INDEX attempts_token ON attempts (token);
CREATE INDEX attempts_recording ON attempts (recording) WHERE recording = 'running';

CREATE TABLE evidence (
  attempt TEXT PRIMARY KEY REFERENCES attempts (id),
  at INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (
  id INTEGER PRIMARY KEY,
  lead INTEGER NOT NULL REFERENCES leads (id),
  attempt TEXT REFERENCES attempts (id),
  token INTEGER NOT NULL,
  agent TEXT NOT NULL,
  disposition TEXT,                 -- NULL = the call's result was accepted
  notes TEXT NOT NULL,
  callback_at INTEGER,
  is_automatic INTEGER NOT NULL,
  is_stale INTEGER NOT NULL,        -- came too late: kept as a note only
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX outcomes_attempt ON outcomes (attempt);
CREATE INDEX outcomes_lead ON outcomes (lead);

CREATE TABLE suppressions (
  id INTEGER PRIMARY KEY,
  e164 TEXT,
  contact INTEGER,
  reason TEXT NOT NULL,
  agent TEXT NOT NULL,
  lead INTEGER,
  at INTEGER NOT NULL,
  CHECK ((e164 IS NULL) <> (contact IS NULL))
) STRICT;
CREATE UNIQUE INDEX suppressions_e164 ON suppressions (e164) WHERE e164 IS NOT NULL;
CREATE UNIQUE INDEX suppressions_contact ON suppressions (contact) WHERE contact IS NOT NULL;

CREATE TABLE idempotency (
  agent TEXT NOT NULL,
  key TEXT NOT NULL,
  command TEXT NOT NULL,
  fact TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (agent, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  json TEXT NOT NULL
) STRICT;

CREATE TABLE sessions (
  token_hash BLOB PRIMARY KEY,
  agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
