-- Calls that come in. An attempt says who called whom, and only our own calls to a number shut
-- each other out.
ALTER TABLE attempts ADD COLUMN direction TEXT NOT NULL DEFAULT 'out'
  CHECK (direction IN ('out', 'in'));
DROP INDEX attempts_live_number;
CREATE UNIQUE INDEX attempts_live_number ON attempts (e164)
  WHERE ended_at IS NULL AND direction = 'out';

-- A customer may call whatever we think of the lead. What it was, when that was none of the states
-- a card is made from, and the reservation it stood under.
ALTER TABLE leads ADD COLUMN prior_over TEXT
  CHECK (prior_over IN ('closed', 'suppressed', 'wrap_up'));
ALTER TABLE leads ADD COLUMN prior_reason TEXT;
ALTER TABLE leads ADD COLUMN prior_token INTEGER;
