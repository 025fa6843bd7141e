-- Restores the database `billing` to its state after the launch: the same rows, dates and
-- passwords. The spare database already exists, so clients are disconnected only during the
-- swap. A reset that is killed at any point is completed by the next one.
\ir create-spare.sql
BEGIN;
\ir set-passwords.sql
COMMIT;

-- DROP DATABASE disconnects clients, too, but checks only ten times a second whether they
-- are gone, and accepts new connections until then.
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname)
FROM pg_database WHERE datname = 'billing' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'billing';
SELECT pg_sleep(0.01);
DROP DATABASE IF EXISTS billing WITH (FORCE);
ALTER DATABASE billing_next RENAME TO billing;
