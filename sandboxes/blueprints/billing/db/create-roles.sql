-- `developer` owns the database and may do anything in it, and nothing outside of it.
-- The API acts as `developer` through a role of its own, so that a developer who takes
-- every connection or changes the password of `developer` doesn't cut the API off.
-- Neither has a password yet, so neither can sign in before a sandbox has set it.
CREATE ROLE developer LOGIN CONNECTION LIMIT 14;
CREATE ROLE billing_api LOGIN CONNECTION LIMIT 8 IN ROLE developer;
ALTER ROLE billing_api SET role = 'developer';
