-- Makes the database that the next reset puts in place of `billing`. It bears the name
-- `billing_next` once it is complete, so whoever finds one may take it; what an
-- earlier try left is taken up. Copying files is cheaper here than logging their content.
SELECT count(*) FILTER (WHERE datname = 'billing_new') = 0 AS is_missing,
       count(*) FILTER (WHERE datname = 'billing_next') = 0 AS is_wanted
FROM pg_database \gset
\if :is_wanted
\if :is_missing
CREATE DATABASE billing_new TEMPLATE billing_template OWNER developer STRATEGY file_copy;
\endif
\connect billing_new
SELECT count(*) = 0 AS is_empty FROM plans \gset
\if :is_empty
BEGIN;
\ir load-seed.sql
COMMIT;
\endif
\connect postgres
ALTER DATABASE billing_new RENAME TO billing_next;
\endif
