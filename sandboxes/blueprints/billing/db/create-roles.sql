-- `developer` may change anything inside the database `billing`, but doesn't own it: the owner
-- could rename it, close it to connections or make it a template, and a reset would fail.
-- The API acts as `developer` through a separate role, so that it keeps working when a
-- developer uses up all connections or changes the password of `developer`.
-- Neither role can sign in until a sandbox sets its password.
CREATE ROLE developer LOGIN CONNECTION LIMIT 14;
CREATE ROLE billing_api LOGIN CONNECTION LIMIT 8 IN ROLE developer;
ALTER ROLE billing_api SET role = 'developer';
