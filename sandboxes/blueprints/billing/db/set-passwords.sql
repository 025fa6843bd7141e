-- The roles as a sandbox has them after its launch; part of a transaction.
-- Kept out of the log, even if this fails.
SET LOCAL log_min_error_statement = panic;
\getenv password DATABASE_PASSWORD
ALTER ROLE developer RESET ALL;
ALTER ROLE developer PASSWORD :'password';
ALTER ROLE billing_api PASSWORD :'password';
