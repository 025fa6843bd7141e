-- Sets the passwords of this sandbox in data that another sandbox had, and what else
-- developers can change of the roles.
\set database billing
BEGIN;
\ir restore-roles.sql
COMMIT;
