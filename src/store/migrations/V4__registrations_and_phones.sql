-- Where phones that registered can be reached: one row an address of record, rewritten as a whole.
CREATE TABLE registrations (
  user TEXT PRIMARY KEY,
  bindings TEXT NOT NULL,           -- one line a binding, as the registrar writes them
  until INTEGER NOT NULL            -- when the last of them runs out
) STRICT, WITHOUT ROWID;
CREATE INDEX registrations_until ON registrations (until);

-- Phones added while the switch runs. A password is never stored: H(user:realm:password) is.
CREATE TABLE desk_phones (
  user TEXT PRIMARY KEY,
  realm TEXT NOT NULL,
  ha1_sha256 TEXT NOT NULL,
  ha1_md5 TEXT NOT NULL,
  is_md5_only INTEGER NOT NULL,     -- for phones that stop at a challenge they do not know
  added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
