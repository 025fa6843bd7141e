-- The API's first query, for a rehearsal of the launch.
SET ROLE developer;
SELECT (SELECT count(*) FROM plans), (SELECT count(*) FROM subscribers), (SELECT count(*) FROM invoices);
