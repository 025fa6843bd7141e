-- Restores the database `billing` to its state after the launch: the same rows, dates and
-- passwords. It is replaced in one transaction, so either all of it happens or nothing. The
-- spare database already exists, so clients are disconnected only for a moment.
\set database billing
\ir create-spare.sql

-- A database in use can't be renamed. Only superusers can sign in from here on, and only the
-- scripts in this directory are superusers.
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname)
FROM pg_database WHERE datname = 'billing' \gexec
DO $$
BEGIN
    FOR attempt IN 1..300 LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'billing';
        -- A connection that is just being made appears a moment later.
        EXIT WHEN NOT FOUND AND attempt > 1;
        PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
    END LOOP;
END $$;

\set ON_ERROR_STOP off
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO billing_old', datname)
FROM pg_database WHERE datname = 'billing' \gexec
ALTER DATABASE billing_next RENAME TO billing;
\ir restore-roles.sql
COMMIT;
\set ON_ERROR_STOP on

-- After a failure, this is still the old database.
ALTER DATABASE billing ALLOW_CONNECTIONS true;
SELECT count(*) > 0 AS has_failed FROM pg_database WHERE datname = 'billing_next' \gset
\if :has_failed
DO $$ BEGIN RAISE 'The data was not reset; see the lines above.'; END $$;
\endif
