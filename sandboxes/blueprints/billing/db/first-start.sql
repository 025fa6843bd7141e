-- Loads the seed and sets the passwords in one transaction: sign-in is impossible before,
-- and a server that was killed halfway repeats it at its next start.
SELECT rolpassword IS NULL AS is_first_start FROM pg_authid WHERE rolname = 'developer' \gset
\if :is_first_start
BEGIN;
\ir load-seed.sql
\ir set-passwords.sql
COMMIT;
\endif
