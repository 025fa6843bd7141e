-- Restores the roles to their state after the launch, within the caller's transaction.
-- Passwords stay out of the log, even if a statement fails.
SET LOCAL log_min_error_statement = panic;
\getenv password DATABASE_PASSWORD
ALTER ROLE developer RESET ALL;
ALTER ROLE developer PASSWORD :'password';
ALTER ROLE billing_api PASSWORD :'password';
