-- Runs at every start, in the database `postgres`: a superuser never opens `billing` once a
-- developer could sign in to it, because its operators, functions and settings may be theirs.
-- The first start loads the seed and sets the passwords in one transaction. A server that was
-- killed halfway repeats it, because `billing` accepts no connections until it is seeded.
\if :{?database} \else \set database billing \endif
SELECT datconnlimit = 0 AS is_first_start FROM pg_database WHERE datname = :'database' \gset
\if :is_first_start
\connect :"database"
BEGIN;
\ir load-seed.sql
\ir restore-roles.sql
ALTER DATABASE :"database" CONNECTION LIMIT -1;
COMMIT;
\else
-- A reset that was killed may have closed it.
ALTER DATABASE :"database" ALLOW_CONNECTIONS true;
\endif
-- The image logs nothing until here: an API that starts at the same time can't sign in yet.
ALTER SYSTEM RESET log_min_messages;
SELECT pg_reload_conf();
