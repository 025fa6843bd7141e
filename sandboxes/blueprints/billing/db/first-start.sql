-- Puts the seed and the passwords in, in one transaction: nobody can sign in before, and
-- a server that was killed halfway does it again when it next starts.
SELECT rolpassword IS NULL AS is_first_start FROM pg_authid WHERE rolname = 'developer' \gset
\if :is_first_start
BEGIN;
\ir load-seed.sql
\ir set-passwords.sql
COMMIT;
\endif
