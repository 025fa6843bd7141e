-- Loads the seed into the current database, within the caller's transaction.
\getenv launched_at SANDBOX_LAUNCHED_AT
SET LOCAL sandbox.launched_at = :'launched_at';
SET LOCAL search_path = public;
SET LOCAL ROLE developer;
\ir seed.sql
RESET ROLE;
RESET search_path;
