-- Lists the files that this session has opened.
SELECT pg_backend_pid() AS backend \gset
\setenv BACKEND :backend
\o
\! readlink /proc/$BACKEND/fd/*
