-- Removes the database that the last reset replaced, and creates the one that replaces `billing`
-- at the next reset. It is renamed to `billing_next` only when complete, so a reset can always
-- use an existing one. An interrupted attempt is continued. Copying files is cheaper here than
-- logging their content.
DROP DATABASE IF EXISTS billing_old WITH (FORCE);
SELECT count(*) FILTER (WHERE datname = 'billing_new') = 0 AS is_missing,
       count(*) FILTER (WHERE datname = 'billing_next') = 0 AS is_wanted
FROM pg_database \gset
\if :is_wanted
\if :is_missing
CREATE DATABASE billing_new TEMPLATE billing_template STRATEGY file_copy;
\endif
\connect billing_new
SELECT count(*) = 0 AS is_empty FROM public.plans \gset
\if :is_empty
BEGIN;
\ir load-seed.sql
COMMIT;
\endif
\connect postgres
ALTER DATABASE billing_new RENAME TO billing_next;
\endif
