-- Lists the files that the session has opened, and those that the API's first would.
SET ROLE developer;
SELECT (SELECT count(*) FROM plans), (SELECT count(*) FROM subscribers), (SELECT count(*) FROM invoices);
SELECT pg_backend_pid() AS backend \gset
\setenv BACKEND :backend
\o
\! readlink /proc/$BACKEND/fd/*
