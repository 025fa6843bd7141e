-- Puts the database `billing` back as it was after the launch: the same rows, dates
-- and passwords. A spare database is filled beside the old one, so clients are cut off
-- only for the moment of the exchange. Every step may find itself done already, by a
-- reset that was killed.
SELECT count(*) = 0 AS is_missing FROM pg_database WHERE datname = 'billing_next' \gset
\if :is_missing
\ir make-spare.sql
\endif

\connect billing_next
SELECT count(*) = 0 AS is_empty FROM plans \gset
BEGIN;
\if :is_empty
\ir fill.sql
\endif
\ir passwords.sql
COMMIT;

\connect postgres
DROP DATABASE IF EXISTS billing WITH (FORCE);
ALTER DATABASE billing_next RENAME TO billing;
