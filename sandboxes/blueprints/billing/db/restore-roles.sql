-- Restores both roles to their state after the launch, within the caller's transaction: each can
-- change its own password and settings, and in PostgreSQL 15 its members.
-- Passwords stay out of the log, even if a statement fails.
SET LOCAL log_min_error_statement = panic;
\getenv password DATABASE_PASSWORD
GRANT developer TO billing_api;
ALTER ROLE developer RESET ALL;
ALTER ROLE developer IN DATABASE :"database" RESET ALL;
ALTER ROLE developer PASSWORD :'password';
ALTER ROLE billing_api RESET ALL;
ALTER ROLE billing_api IN DATABASE :"database" RESET ALL;
ALTER ROLE billing_api SET role = 'developer';
ALTER ROLE billing_api PASSWORD :'password';
GRANT CREATE, TEMPORARY ON DATABASE :"database" TO developer;
