-- Puts the seed into the database of this session; part of a transaction.
\getenv launched_at SANDBOX_LAUNCHED_AT
SET LOCAL sandbox.launched_at = :'launched_at';
\ir seed.sql
