-- Third parties that agents bring into their calls: each far leg, so that a restart can end it.

CREATE TABLE third_legs (
  id TEXT PRIMARY KEY,
  attempt TEXT NOT NULL REFERENCES attempts (id),
  kind TEXT NOT NULL CHECK (kind IN ('phone', 'number')),
  e164 TEXT,                        -- of a number only
  trunk TEXT,
  caller_id TEXT,
  dialog TEXT NOT NULL,
  evidence TEXT NOT NULL,           -- what the gate saw; empty for a phone of our own
  created_at INTEGER NOT NULL,
  alerting_at INTEGER,
  answered_at INTEGER,
  ended_at INTEGER,
  outcome TEXT,
  CHECK ((kind = 'number') = (e164 IS NOT NULL AND trunk IS NOT NULL AND caller_id IS NOT NULL)),
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX third_legs_live_number ON third_legs (e164)
  WHERE ended_at IS NULL AND e164 IS NOT NULL;
CREATE INDEX third_legs_attempt ON third_legs (attempt);
CREATE INDEX third_legs_live ON third_legs (created_at) WHERE ended_at IS NULL;

-- The agent has handed the call over and wraps up; the attempt goes on without her.
ALTER TABLE attempts ADD COLUMN transferred_to TEXT;
ALTER TABLE attempts ADD COLUMN transferred_at INTEGER;
