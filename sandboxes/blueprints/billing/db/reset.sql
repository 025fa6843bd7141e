-- Puts the database `billing` back as it was after the launch: the same rows, dates
-- and passwords. The other one lies ready, so clients are cut off only for the moment of the
-- exchange; and a reset that was killed at any point is finished by the next.
\ir create-spare.sql
BEGIN;
\ir set-passwords.sql
COMMIT;

-- DROP DATABASE cuts clients off, too, but looks only ten times a second whether they
-- are gone, and lets new ones in until then.
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname)
FROM pg_database WHERE datname = 'billing' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'billing';
SELECT pg_sleep(0.01);
DROP DATABASE IF EXISTS billing WITH (FORCE);
ALTER DATABASE billing_next RENAME TO billing;
