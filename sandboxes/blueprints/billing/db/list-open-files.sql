-- Lists the files that this session has opened, including those of the API's first query.
SET ROLE developer;
SELECT (SELECT count(*) FROM plans), (SELECT count(*) FROM subscribers), (SELECT count(*) FROM invoices);
SELECT pg_backend_pid() AS backend \gset
\setenv BACKEND :backend
\o
\! readlink /proc/$BACKEND/fd/*
